//! Verified nodes, by their pointers.

use std::collections::HashMap;
use std::sync::Arc;

use baton_types::Result;
use parking_lot::Mutex;

use crate::buffer::Buffer;
use crate::device::Device;
use crate::format::{BLOCK_BYTES, Pointer};
use crate::tree::Node;

/// The nodes of a device: those in memory, and a way to the others.
pub struct Nodes {
    device: Arc<dyn Device>,
    held: Mutex<HashMap<Pointer, Node>>,
}

impl Nodes {
    /// None in memory yet.
    pub fn new(device: Arc<dyn Device>) -> Nodes {
        Nodes {
            device,
            held: Mutex::default(),
        }
    }

    /// The node, if it is in memory.
    pub fn cached(&self, pointer: &Pointer) -> Option<Node> {
        self.held.lock().get(pointer).cloned()
    }

    /// The node, from memory or from the device.
    ///
    /// # Errors
    /// What the device says; `Damaged`.
    pub fn read(&self, pointer: &Pointer) -> Result<Node> {
        if let Some(node) = self.cached(pointer) {
            return Ok(node);
        }
        let mut bytes = Buffer::scratch(usize::from(pointer.blocks) * BLOCK_BYTES);
        self.device.read(pointer.block.offset(), &mut bytes)?;
        let node = Node::verify(bytes.into(), pointer)?;
        self.insert(pointer, node.clone());
        Ok(node)
    }

    /// Several nodes at once.
    pub fn read_all(&self, pointers: &[Pointer]) -> Vec<Result<Node>> {
        pointers.iter().map(|pointer| self.read(pointer)).collect()
    }

    /// Keeps a node that was just written.
    pub fn insert(&self, pointer: &Pointer, node: Node) {
        self.held.lock().insert(*pointer, node);
    }
}
