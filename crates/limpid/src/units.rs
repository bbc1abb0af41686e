//! How numbers are written for people: bytes, times, counts.

use std::time::Duration;

/// `3.3 MiB`. The largest number is what sums stop at that are larger.
pub(crate) fn bytes(n: usize) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n == usize::MAX {
        return format!("{} or more", bytes(n - 1));
    }
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `131,072`.
pub(crate) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 token`, `131,072 tokens`.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `0.42 ms`, `12.3 ms` or `4.56 s`.
pub(crate) fn time(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds if seconds >= 0.01 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{:.2} ms", seconds * 1e3),
    }
}

/// Tokens a second.
pub(crate) fn rate(tok_per_s: f64) -> String {
    format!("{} tok/s", three_digits(tok_per_s))
}

/// As many decimals as mean something.
pub(crate) fn three_digits(x: f64) -> String {
    match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    }
}

/// Milliseconds for JSON, to the microsecond.
pub(crate) fn json_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A rate for JSON, two decimals.
pub(crate) fn json_rate(tok_per_s: f64) -> f64 {
    (tok_per_s * 1e2).round() / 1e2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_the_unit_that_keeps_them_short() {
        let written = [0, 1023, 1024, 1536, 1_048_575, 3_484_960, 5 << 30].map(bytes);
        assert_eq!(written, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "3.3 MiB", "5.0 GiB"]);
        assert_eq!([3 << 60, usize::MAX].map(bytes), ["3.0 EiB", "16.0 EiB or more"]);
    }

    #[test]
    fn counts_in_groups_of_three() {
        let written = [0, 999, 1000, 131_072, 1_234_567].map(count);
        assert_eq!(written, ["0", "999", "1,000", "131,072", "1,234,567"]);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 1000].map(|n| counted(n, "token")), ["0 tokens", "1 token", "1,000 tokens"]);
    }

    #[test]
    fn times_and_rates() {
        let written = [0.000_42, 0.0123, 4.557].map(|s| time(Duration::from_secs_f64(s)));
        assert_eq!(written, ["0.42 ms", "12.3 ms", "4.56 s"]);
        assert_eq!([952.4, 41.26, 3.147].map(rate), ["952 tok/s", "41.3 tok/s", "3.15 tok/s"]);
        assert_eq!(json_ms(Duration::from_nanos(1_234_567)), 1.235);
    }
}
