//! Salvage: what is wrong with an aggregate, and its files without a cell.
