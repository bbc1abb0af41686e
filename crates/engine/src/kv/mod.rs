//! What a sequence remembers: pages, page tables, layer groups.
