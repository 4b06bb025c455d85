//! All paths of all routes as one tree, so that one pass finds every field.
//!
//! Built once from the configuration; the scan only walks it.

use std::collections::HashMap;
use std::ops::Range;

use crate::route::path::{Path, Step};

/// Above this many names a node is searched by halving instead of one by one.
const LINEAR_NAMES: usize = 8;

/// Collects paths and gives each a slot.
#[derive(Debug, Default)]
pub(in crate::route) struct PlanBuilder {
    slots: HashMap<Path, u32>,
    paths: Vec<Path>,
}

impl PlanBuilder {
    /// The slot of `path`, the same for equal paths. `None` when 2^32 are taken.
    pub(in crate::route) fn slot(&mut self, path: &Path) -> Option<u32> {
        if let Some(&slot) = self.slots.get(path) {
            return Some(slot);
        }
        let slot = u32::try_from(self.paths.len())
            .ok()
            .filter(|&s| s < u32::MAX)?;
        self.slots.insert(path.clone(), slot);
        self.paths.push(path.clone());
        Some(slot)
    }

    /// The finished tree.
    pub(in crate::route) fn build(&self) -> Plan {
        let mut root = Branch::default();
        for (slot, path) in self.paths.iter().enumerate() {
            let mut branch = &mut root;
            for step in path.steps() {
                branch = branch.child(step);
            }
            branch.slot = u32::try_from(slot).ok();
        }
        let mut plan = Plan {
            nodes: Vec::new(),
            order: Vec::new(),
            slots: self.paths.len(),
        };
        plan.add(root);
        plan
    }
}

/// A node while the tree grows.
#[derive(Default)]
struct Branch {
    slot: Option<u32>,
    children: Vec<(Step, Branch)>,
}

impl Branch {
    fn child(&mut self, step: &Step) -> &mut Self {
        let at = self.children.iter().position(|(known, _)| known == step);
        let at = at.unwrap_or_else(|| {
            self.children.push((step.clone(), Self::default()));
            self.children.len() - 1
        });
        #[expect(
            clippy::indexing_slicing,
            reason = "position() or push() gave the index"
        )]
        &mut self.children[at].1
    }
}

/// The tree, ready to be walked.
#[derive(Debug, Default)]
pub(in crate::route) struct Plan {
    nodes: Vec<Node>,
    /// Slots in the order of the tree, so that those below a node are neighbours.
    order: Vec<u32>,
    slots: usize,
}

/// One step of the tree.
#[derive(Debug)]
pub(super) struct Node {
    /// Where the value at this place is noted.
    pub(super) slot: Option<u32>,
    /// The slots of this node and all below it, as a range of [`Plan::below`].
    below: Range<usize>,
    /// Children by name, sorted.
    names: Vec<(Box<str>, usize)>,
    /// Children by position, sorted.
    items: Vec<(u32, usize)>,
}

impl Plan {
    /// Number of slots.
    pub(in crate::route) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn root(&self) -> Option<&Node> {
        self.nodes.last()
    }

    /// The slots of `node` and all below it.
    pub(super) fn below(&self, node: &Node) -> &[u32] {
        self.order.get(node.below.clone()).unwrap_or_default()
    }

    /// The child of `node` under a name without escapes.
    pub(super) fn named(&self, node: &Node, name: &[u8]) -> Option<&Node> {
        let index = if node.names.len() <= LINEAR_NAMES {
            node.names
                .iter()
                .find(|(known, _)| known.as_bytes() == name)
        } else {
            let found = node
                .names
                .binary_search_by(|(known, _)| known.as_bytes().cmp(name));
            found.ok().and_then(|at| node.names.get(at))
        };
        index.and_then(|&(_, index)| self.nodes.get(index))
    }

    /// The child of `node` at a position.
    pub(super) fn item(&self, node: &Node, position: u32) -> Option<&Node> {
        let found = node
            .items
            .binary_search_by_key(&position, |&(at, _)| at)
            .ok()?;
        self.nodes.get(node.items.get(found)?.1)
    }

    /// Adds children first, so that the root is the last node.
    fn add(&mut self, branch: Branch) -> usize {
        let start = self.order.len();
        self.order.extend(branch.slot);
        let (mut names, mut items) = (Vec::new(), Vec::new());
        for (step, child) in branch.children {
            let index = self.add(child);
            match step {
                Step::Name(name) => names.push((name.into_boxed_str(), index)),
                Step::Index(at) => items.push((at, index)),
            }
        }
        names.sort();
        items.sort_unstable();
        self.nodes.push(Node {
            slot: branch.slot,
            below: start..self.order.len(),
            names,
            items,
        });
        self.nodes.len() - 1
    }
}

impl Node {
    pub(super) fn has_items(&self) -> bool {
        !self.items.is_empty()
    }

    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }
}
