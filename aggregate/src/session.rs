//! Sessions, replies, clients and holds: once, and in order (I6, I7).
