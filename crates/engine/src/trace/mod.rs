//! What the glass box records of a request, only when asked.
