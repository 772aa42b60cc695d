//! Operations, each alone over an empty tree and a layer.

mod catalog;
mod create;
mod links;
mod names;
mod orphans;
mod rename;
mod sandbox;
mod xattrs;
