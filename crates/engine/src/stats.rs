//! The four metrics (TTFT, TPOT, throughput, memory): plain types and a recorder.
