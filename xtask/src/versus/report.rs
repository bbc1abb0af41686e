//! From the runs of each row to ratios, shares and verdicts; as Markdown for people and as JSON for programs.

use serde_json::{Value, json};

use super::programs::Figure;
use super::rows::{Bar, Limit, Row};

/// All runs of a row, one of each program a round.
pub(super) struct Series {
    pub model: String,
    pub row: Row,
    pub bar: Bar,
    pub limit: Option<Limit>,
    pub limpid: Vec<Figure>,
    pub llama_cpp: Vec<Figure>,
    pub ik: Vec<Figure>,
}

/// The middle of some numbers, and how far they lie apart.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        Some(Self { median: (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0, least, most })
    }

    fn json(self) -> Value {
        json!({"median": rounded(self.median), "least": rounded(self.least), "most": rounded(self.most)})
    }
}

fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

fn values(figures: &[Figure]) -> Option<Spread> {
    Spread::of(figures.iter().map(|figure| figure.value))
}

impl Series {
    /// Limpid's number over the other's, round by round.
    fn ratio(&self, others: &[Figure]) -> Option<Spread> {
        Spread::of(self.limpid.iter().zip(others).map(|(ours, theirs)| ours.value / theirs.value))
    }

    fn share(&self) -> Option<Spread> {
        let pairs = self.limpid.iter().filter_map(|figure| figure.rate_and_limit);
        Spread::of(pairs.map(|(rate, limit)| rate / limit))
    }

    /// Whether the row's bar is met, as far as it was measured: `None` if there is none, or llama.cpp did not run and
    /// the share does not decide. ik_llama.cpp counts where it ran.
    fn is_met(&self) -> Option<bool> {
        let reaches = |found: Option<Spread>, bar: Option<f64>| {
            let (found, bar) = (found?.median, bar?);
            Some(if self.row.less_is_better() { found <= bar } else { found >= bar })
        };
        let llama_cpp = reaches(self.ratio(&self.llama_cpp), self.bar.llama_cpp);
        let ik = reaches(self.ratio(&self.ik), self.bar.ik);
        let share = reaches(self.share(), self.bar.share);
        let ratios = llama_cpp.map(|met| met && ik != Some(false));
        match (self.bar.either, share) {
            (true, Some(true)) => Some(true),
            (true, _) => ratios,
            (false, Some(false)) => Some(false),
            (false, _) => ratios,
        }
    }

    fn cells(&self) -> Vec<String> {
        let of = |found: Option<Spread>, write: fn(f64) -> String| match found {
            None => String::new(),
            Some(Spread { median, least, most }) if least == most => write(median),
            Some(Spread { median, least, most }) => {
                format!("{} ({} to {})", write(median), write(least), write(most))
            }
        };
        let amount = |figures: &[Figure]| {
            values(figures).map_or(String::new(), |found| format!("{:.1}", found.median))
        };
        let sign = if self.row.less_is_better() { "<=" } else { ">=" };
        let bar = |bar: Option<f64>, write: fn(f64) -> String| {
            bar.map_or(String::new(), |bar| format!("{sign} {}", write(bar)))
        };
        let times = |x: f64| format!("{x:.2}");
        let percent = |x: f64| format!("{:.0} %", 100.0 * x);
        vec![
            self.model.clone(),
            format!("{}, {}", name(self.row), self.row.unit()),
            amount(&self.limpid),
            amount(&self.llama_cpp),
            of(self.ratio(&self.llama_cpp), times),
            bar(self.bar.llama_cpp, times),
            amount(&self.ik),
            of(self.ratio(&self.ik), times),
            bar(self.bar.ik, times),
            self.limit.map_or(String::new(), |limit| limit_name(limit).to_string()),
            of(self.share(), percent),
            bar(self.bar.share, percent),
            self.is_met().map_or("-", |met| if met { "yes" } else { "no" }).to_string(),
        ]
    }

    fn json(&self) -> Value {
        let all = |figures: &[Figure]| figures.iter().map(|figure| rounded(figure.value)).collect::<Vec<_>>();
        let parts = |part: fn((f64, f64)) -> f64| {
            let parts = self.limpid.iter().filter_map(|figure| figure.rate_and_limit).map(part);
            parts.map(rounded).collect::<Vec<_>>()
        };
        json!({
            "model": self.model,
            "row": name(self.row),
            "threads": self.row.n_threads(),
            "unit": self.row.unit(),
            "limpid": all(&self.limpid),
            "llama_cpp": all(&self.llama_cpp),
            "ik_llama_cpp": all(&self.ik),
            "ratio_to_llama_cpp": self.ratio(&self.llama_cpp).map(Spread::json),
            "ratio_to_ik_llama_cpp": self.ratio(&self.ik).map(Spread::json),
            "limit": self.limit.map(Limit::key),
            "limits": parts(|(_, limit)| limit),
            "rates": parts(|(rate, _)| rate),
            "share": self.share().map(Spread::json),
            "bar": {
                "ratio_to_llama_cpp": self.bar.llama_cpp,
                "ratio_to_ik_llama_cpp": self.bar.ik,
                "share": self.bar.share,
                "either": self.bar.either,
            },
            "met": self.is_met(),
        })
    }
}

/// As `--rows` spells it.
pub(super) fn name(row: impl clap::ValueEnum) -> String {
    row.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}

fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::Read => "reads",
        Limit::Int4 => "int4",
        Limit::Int8 => "int8",
        Limit::Bf16 => "bf16",
        Limit::F32 => "f32",
    }
}

/// When and on what, for the heads of both files.
pub(super) struct Occasion {
    pub date: String,
    pub cpu: String,
    pub isa: String,
    pub bars: &'static str,
    pub rounds: usize,
    pub prefill: usize,
    pub decode: usize,
    pub llama_cpp: String,
}

const HEADER: [&str; 13] = [
    "model",
    "row",
    "Limpid",
    "llama.cpp",
    "ratio",
    "bar",
    "ik_llama.cpp",
    "ratio",
    "bar",
    "limit",
    "share",
    "bar",
    "met",
];

pub(super) fn markdown(occasion: &Occasion, series: &[Series]) -> String {
    let Occasion { date, cpu, isa, bars, rounds, prefill, decode, llama_cpp } = occasion;
    let rows: Vec<_> =
        [HEADER.map(String::from).to_vec()].into_iter().chain(series.iter().map(Series::cells)).collect();
    format!(
        "# Limpid beside llama.cpp, {date}\n\n{cpu}; Limpid on {isa}, bars for {bars}; llama.cpp: {llama_cpp}. Prompt \
         {prefill}, decode {decode} tokens, keys and values in f16, flash attention on; medians of {rounds} rounds in \
         which the programs ran in turn. A ratio is Limpid's number over the other's in the same round, a share \
         that of what Limpid's own probes measured beside it.\n\n{}",
        table(&rows)
    )
}

pub(super) fn record(occasion: &Occasion, series: &[Series]) -> Value {
    json!({
        "date": occasion.date,
        "cpu": occasion.cpu,
        "isa": occasion.isa,
        "bars": occasion.bars,
        "rounds": occasion.rounds,
        "prefill": occasion.prefill,
        "decode": occasion.decode,
        "llama_cpp": occasion.llama_cpp,
        "rows": series.iter().map(Series::json).collect::<Vec<_>>(),
    })
}

/// A Markdown table; the first row is its head, all but the first two columns are numbers.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 | 1 => format!("{cell:<0$}", width(column)),
            _ => format!("{cell:>0$}", width(column)),
        });
        lines.push(format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
    }
    let rule = (0..rows[0].len()).map(|column| match column {
        0 | 1 => "-".repeat(width(column)),
        _ => format!("{}:", "-".repeat(width(column) - 1)),
    });
    lines.insert(1, format!("| {} |\n", rule.collect::<Vec<_>>().join(" | ")));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::Recipe;
    use crate::versus::rows::{Machine, bar};

    fn series(row: Row, limpid: &[(f64, f64)], llama_cpp: &[f64], ik: &[f64]) -> Series {
        let others = |values: &[f64]| {
            values.iter().map(|&value| Figure { value, rate_and_limit: None }).collect::<Vec<_>>()
        };
        let ours =
            |&(value, share): &(f64, f64)| Figure { value, rate_and_limit: Some((100.0 * share, 100.0)) };
        Series {
            model: "a-q4_0".into(),
            row,
            bar: bar(Machine::Avx2, row, Some(Recipe::Q4_0)),
            limit: Some(Limit::Int4),
            limpid: limpid.iter().map(ours).collect(),
            llama_cpp: others(llama_cpp),
            ik: others(ik),
        }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let series =
            series(Row::Prefill, &[(100.0, 0.5), (50.0, 0.4), (90.0, 0.6)], &[50.0, 25.0, 30.0], &[]);
        let ratio = series.ratio(&series.llama_cpp).unwrap();
        assert_eq!(ratio, Spread { median: 2.0, least: 2.0, most: 3.0 });
        assert_eq!(series.share().unwrap().median, 0.5);
        assert!(series.ratio(&series.ik).is_none());
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median, 2.5);
    }

    #[test]
    fn prefill_needs_ratio_and_share() {
        let met = |share, theirs, ik: &[f64]| series(Row::Prefill, &[(230.0, share)], &[theirs], ik).is_met();
        assert_eq!(met(0.5, 100.0, &[]), Some(true));
        assert_eq!(met(0.49, 100.0, &[]), Some(false));
        assert_eq!(met(0.5, 101.0, &[]), Some(false));
        assert_eq!(met(0.5, 100.0, &[200.0]), Some(false), "1.4 times ik_llama.cpp is asked for");
        assert_eq!(series(Row::Prefill, &[(230.0, 0.9)], &[], &[]).is_met(), None, "the ratio is open");
    }

    #[test]
    fn decode_needs_ratio_or_share() {
        let met = |share, theirs: &[f64]| series(Row::Decode2, &[(125.0, share)], theirs, &[]).is_met();
        assert_eq!(met(0.5, &[100.0]), Some(true));
        assert_eq!(met(0.9, &[110.0]), Some(true));
        assert_eq!(met(0.5, &[110.0]), Some(false));
        assert_eq!(met(0.9, &[]), Some(true));
        assert_eq!(met(0.5, &[]), None);
    }

    #[test]
    fn start_and_memory_may_be_a_fifth_more() {
        let met = |ours| series(Row::Memory, &[(ours, 0.0)], &[100.0], &[]).is_met();
        assert_eq!((met(120.0), met(121.0)), (Some(true), Some(false)));
    }

    #[test]
    fn the_table_and_the_record_have_every_row() {
        let occasion = Occasion {
            date: "2026-01-02".into(),
            cpu: "a CPU".into(),
            isa: "avx2".into(),
            bars: "AVX2",
            rounds: 1,
            prefill: 512,
            decode: 64,
            llama_cpp: "b1".into(),
        };
        let rows = [series(Row::Prefill, &[(230.0, 0.55)], &[100.0], &[])];
        let text = markdown(&occasion, &rows);
        let last = text.lines().last().unwrap().split('|').map(str::trim).collect::<Vec<_>>();
        let expected = [
            "",
            "a-q4_0",
            "prefill, tok/s",
            "230.0",
            "100.0",
            "2.30",
            ">= 2.30",
            "",
            "",
            ">= 1.40",
            "int4",
            "55 %",
            ">= 50 %",
            "yes",
            "",
        ];
        assert_eq!(last, expected, "{text}");
        let record = record(&occasion, &rows);
        assert_eq!(record["rows"][0]["ratio_to_llama_cpp"]["median"], 2.3);
        assert_eq!(record["rows"][0]["met"], true);
        assert_eq!(record["rows"][0]["limits"], json!([100.0]));
    }
}
