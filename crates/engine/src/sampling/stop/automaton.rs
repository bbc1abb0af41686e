//! All stop strings at once in one pass over the bytes (Aho and Corasick 1975).
//!
//! A node stands for a beginning of one or more strings; the automaton is always at the longest beginning
//! that the text so far ends with. Time is linear in the text whatever the strings are: a byte goes down at
//! most one edge, and each step back over a failure link undoes one.

#[derive(Clone, Debug)]
struct Node {
    /// By byte, ascending.
    edges: Vec<(u8, u32)>,
    /// The node of the longest proper suffix that is also a beginning of a string.
    failure: u32,
    depth: u32,
    /// The longest string that the text ends with here; the first one if it was given twice.
    longest_match: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Automaton {
    nodes: Vec<Node>,
}

impl Automaton {
    pub(super) const ROOT: u32 = 0;

    pub(super) fn new(strings: &[String]) -> Automaton {
        let mut automaton = Automaton { nodes: vec![Node::new(0)] };
        for (index, string) in strings.iter().enumerate() {
            automaton.insert(string, index as u32);
        }
        automaton.link();
        automaton
    }

    /// The node after one more byte.
    pub(super) fn next(&self, mut node: u32, byte: u8) -> u32 {
        loop {
            match self.child(node, byte) {
                Some(child) => return child,
                None if node == Self::ROOT => return Self::ROOT,
                None => node = self.nodes[node as usize].failure,
            }
        }
    }

    /// How many of the last bytes could still become a stop string.
    pub(super) fn depth(&self, node: u32) -> usize {
        self.nodes[node as usize].depth as usize
    }

    /// The longest string that ends at this node.
    pub(super) fn longest_match(&self, node: u32) -> Option<usize> {
        self.nodes[node as usize].longest_match.map(|index| index as usize)
    }

    fn child(&self, node: u32, byte: u8) -> Option<u32> {
        let edges = &self.nodes[node as usize].edges;
        edges.binary_search_by_key(&byte, |&(b, _)| b).ok().map(|i| edges[i].1)
    }

    fn insert(&mut self, string: &str, index: u32) {
        let mut node = Self::ROOT;
        for byte in string.bytes() {
            node = match self.child(node, byte) {
                Some(child) => child,
                None => self.add_child(node, byte),
            };
        }
        self.nodes[node as usize].longest_match.get_or_insert(index);
    }

    fn add_child(&mut self, node: u32, byte: u8) -> u32 {
        let child = self.nodes.len() as u32;
        let parent = &mut self.nodes[node as usize];
        let place = parent.edges.partition_point(|&(b, _)| b < byte);
        parent.edges.insert(place, (byte, child));
        let depth = parent.depth + 1;
        self.nodes.push(Node::new(depth));
        child
    }

    /// Failure links, breadth first: a node's link lies above it, so it is done before.
    fn link(&mut self) {
        let mut queue = vec![Self::ROOT];
        let mut i = 0;
        while i < queue.len() {
            let node = queue[i];
            i += 1;
            for (byte, child) in self.nodes[node as usize].edges.clone() {
                queue.push(child);
                if node != Self::ROOT {
                    let failure = self.next(self.nodes[node as usize].failure, byte);
                    let inherited = self.nodes[failure as usize].longest_match;
                    let child = &mut self.nodes[child as usize];
                    child.failure = failure;
                    child.longest_match = child.longest_match.or(inherited);
                }
            }
        }
    }
}

impl Node {
    fn new(depth: u32) -> Node {
        Node { edges: Vec::new(), failure: Automaton::ROOT, depth, longest_match: None }
    }
}
