//! A fileset: the operations on its names, attributes and links.
