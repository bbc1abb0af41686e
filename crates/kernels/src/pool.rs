//! The thread pool.
pub struct ThreadPool;
impl ThreadPool {
    pub fn new(_n: usize) -> Self {
        Self
    }
}
