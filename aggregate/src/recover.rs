//! Recovery: one root and a bounded log become layers (I12).
