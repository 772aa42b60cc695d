//! An aggregate from its label to its service.
