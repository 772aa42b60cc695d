//! Checkpoints: layers become nodes, and a root says so.
