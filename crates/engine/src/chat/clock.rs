//! The time of day that a template may print. The engine has no clock: the caller says what time it is.

/// A local time, as the user's calendar and clock show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl DateTime {
    /// Python's `strftime` in the C locale, for the directives that need no time zone, and glibc's `%-d` (no zero in
    /// front); `Err` names the first other.
    pub(super) fn strftime(&self, format: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next().ok_or("a lone % at the end")? {
                '-' => {
                    let directive = chars.next().ok_or("a lone %- at the end")?;
                    let padded = self.directive(directive).ok_or_else(|| format!("%-{directive}"))?;
                    let bare = padded.trim_start_matches(['0', ' ']);
                    out.push_str(if bare.is_empty() { "0" } else { bare });
                }
                directive => out.push_str(&self.directive(directive).ok_or_else(|| format!("%{directive}"))?),
            }
        }
        Ok(out)
    }

    fn directive(&self, directive: char) -> Option<String> {
        let two_digits = |n: u8| format!("{n:02}");
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'm' => two_digits(self.month),
            'B' => self.month_name().to_string(),
            'b' | 'h' => self.month_name()[..3].to_string(),
            'd' => two_digits(self.day),
            'e' => format!("{:>2}", self.day),
            'j' => format!("{:03}", self.day_of_year()),
            'A' => DAYS[self.weekday()].to_string(),
            'a' => DAYS[self.weekday()][..3].to_string(),
            'w' => self.weekday().to_string(),
            'H' => two_digits(self.hour),
            'I' => two_digits((self.hour + 11) % 12 + 1),
            'M' => two_digits(self.minute),
            'S' => two_digits(self.second),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_string(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            '%' => "%".to_string(),
            _ => return None,
        })
    }

    fn month_name(&self) -> &'static str {
        MONTHS[usize::from(self.month.clamp(1, 12)) - 1]
    }

    /// 1 for the first of January.
    fn day_of_year(&self) -> u32 {
        const DAYS_BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let year = u32::from(self.year);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let month = usize::from(self.month.clamp(1, 12));
        DAYS_BEFORE[month - 1] + u32::from(self.day) + u32::from(is_leap && month > 2)
    }

    /// 0 for Sunday. The proleptic Gregorian calendar: 1 January of year 1 was a Monday.
    fn weekday(&self) -> usize {
        let years = u32::from(self.year.max(1)) - 1;
        let days = years * 365 + years / 4 - years / 100 + years / 400 + self.day_of_year();
        (days % 7) as usize
    }
}
