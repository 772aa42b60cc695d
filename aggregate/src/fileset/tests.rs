//! Operations, each alone over an empty tree and a layer; then all of them against a model in memory.

mod acts;
mod catalog;
mod create;
mod links;
mod model;
mod names;
mod orphans;
mod pair;
mod prop;
mod rename;
mod sandbox;
mod service;
mod stack;
mod walk;
mod xattrs;
