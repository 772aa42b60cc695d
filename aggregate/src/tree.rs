//! The B+tree: nodes, layers over them, and the merge of both.
