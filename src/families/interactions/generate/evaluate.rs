//! How good the rules are: the signals that were found, against the signs that were planted.
//!
//! A signal finds a planted sign of its session and rule where their times overlap, give or take 2 s; each finds one. Recall
//! is the share of the planted that were found, precision the share of the signals that found one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::BufRead;

use compact_str::CompactString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::truth::{Label, Rule, Sign, time};
use crate::codec::json;
use crate::engine::Millis;

/// By how much the times of a signal and of a sign may miss each other.
const TOLERANCE: Millis = 2_000;

/// Why a file could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// It can't be read.
    #[error("can't read the {file}: {source}")]
    Read {
        /// The file.
        file: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line} of the {file}: {source}")]
    Line {
        /// Which file.
        file: &'static str,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// A signal, as much of it as matters here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// In which session.
    pub session_id: CompactString,
    /// The rule.
    pub rule: CompactString,
    /// Time of its first event.
    #[serde(deserialize_with = "time")]
    pub started_at: Millis,
    /// Time of its last event.
    #[serde(deserialize_with = "time")]
    pub ended_at: Millis,
}

/// How good a rule is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Signs that were planted.
    pub planted: usize,
    /// Signals.
    pub signals: usize,
    /// Those that found a planted sign, and so the planted signs that were found.
    pub right: usize,
    /// What was planted to look like it.
    pub near_misses: usize,
    /// Those that were taken for one.
    pub fired: usize,
}

impl Score {
    /// The share of the planted signs that were found; 1 where there are none.
    pub fn recall(&self) -> f64 {
        share(self.right, self.planted)
    }

    /// The share of the signals that are right; 1 where there are none.
    pub fn precision(&self) -> f64 {
        share(self.right, self.signals)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// By rule, the nine of them.
    pub scores: BTreeMap<Rule, Score>,
    /// Planted signs that no signal found.
    pub missed: Vec<Sign>,
    /// Signals that found no planted sign, each with the near-miss that it took for one, if it did.
    pub wrong: Vec<(Found, Option<Sign>)>,
    /// Signals of other rules.
    pub others: usize,
}

/// Compares them.
pub fn evaluate(truth: &[Sign], signals: &[Found]) -> Report {
    let mut report =
        Report { scores: Rule::ALL.map(|rule| (rule, Score::default())).into(), ..Report::default() };
    let mut signs: HashMap<(&str, &str), Vec<&Sign>> = HashMap::new();
    for sign in truth {
        signs.entry((&sign.session_id, sign.rule.name())).or_default().push(sign);
        let score = report.scores.entry(sign.rule).or_default();
        match sign.planted {
            Label::Planted => score.planted += 1,
            Label::NearMiss => score.near_misses += 1,
        }
    }
    let mut in_order: Vec<&Found> = signals.iter().collect();
    in_order.sort_by_key(|found| found.started_at);
    for found in in_order {
        let Some(rule) = Rule::ALL.into_iter().find(|rule| rule.name() == found.rule) else {
            report.others += 1;
            continue;
        };
        let score = report.scores.entry(rule).or_default();
        score.signals += 1;
        let mut none = Vec::new();
        let here = signs.get_mut(&(found.session_id.as_str(), rule.name())).unwrap_or(&mut none);
        let place = |label| here.iter().position(|sign| sign.planted == label && overlap(sign, found));
        match (place(Label::Planted), place(Label::NearMiss)) {
            (Some(place), _) => {
                score.right += 1;
                here.remove(place);
            }
            (None, Some(place)) => {
                score.fired += 1;
                report.wrong.push((found.clone(), Some(here.remove(place).clone())));
            }
            (None, None) => report.wrong.push((found.clone(), None)),
        }
    }
    let left = signs.into_values().flatten().filter(|sign| sign.planted == Label::Planted);
    report.missed = left.cloned().collect();
    report.missed.sort_by(|a, b| (a.started_at, &a.session_id).cmp(&(b.started_at, &b.session_id)));
    report
}

fn overlap(sign: &Sign, found: &Found) -> bool {
    found.started_at <= sign.ended_at + TOLERANCE && sign.started_at <= found.ended_at + TOLERANCE
}

/// Reads a truth file.
pub fn read_truth(reader: impl BufRead) -> Result<Vec<Sign>, EvaluateError> {
    let mut signs = Vec::new();
    for_each_line("truth", reader, |sign| signs.push(sign))?;
    Ok(signs)
}

/// Reads rows as `tidewatch try` prints them: of the topic `signals`, the last version of each that is not retracted.
pub fn read_signals(reader: impl BufRead) -> Result<Vec<Found>, EvaluateError> {
    #[derive(Deserialize)]
    struct Meta {
        id: String,
        #[serde(default)]
        retracted: bool,
    }
    #[derive(Deserialize)]
    struct Signal {
        meta: Meta,
        #[serde(flatten)]
        found: Found,
    }
    #[derive(Deserialize)]
    #[serde(tag = "topic", rename_all = "lowercase")]
    enum Row {
        Signals(Signal),
        #[serde(other)]
        Other,
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut signals: Vec<Option<Found>> = Vec::new();
    for_each_line("signals", reader, |row| {
        let Row::Signals(Signal { meta, found }) = row else { return };
        let found = (!meta.retracted).then_some(found);
        let place = *places.entry(meta.id).or_insert(signals.len());
        if place < signals.len() {
            signals[place] = found;
        } else {
            signals.push(found);
        }
    })?;
    Ok(signals.into_iter().flatten().collect())
}

fn for_each_line<T: DeserializeOwned>(
    file: &'static str,
    reader: impl BufRead,
    mut each: impl FnMut(T),
) -> Result<(), EvaluateError> {
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(|source| EvaluateError::Read { file, source })?;
        if !line.trim().is_empty() {
            let value = serde_json::from_str(&line).map_err(|source| EvaluateError::Line {
                file,
                line: index + 1,
                source,
            })?;
            each(value);
        }
    }
    Ok(())
}

/// A table, and what went wrong, a line each.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<16} {:>8} {:>8} {:>8} {:>10} {:>12} {:>6}",
            "rule", "planted", "signals", "recall", "precision", "near-misses", "fired"
        )?;
        for (rule, score) in &self.scores {
            writeln!(
                formatter,
                "{:<16} {:>8} {:>8} {:>8.4} {:>10.4} {:>12} {:>6}",
                rule.name(),
                score.planted,
                score.signals,
                score.recall(),
                score.precision(),
                score.near_misses,
                score.fired
            )?;
        }
        if self.others > 0 {
            writeln!(formatter, "{} signals of other rules", self.others)?;
        }
        let show = |at| json::time(at).unwrap_or_default();
        for sign in &self.missed {
            writeln!(
                formatter,
                "missed: {} in {} at {}",
                sign.rule.name(),
                sign.session_id,
                show(sign.started_at)
            )?;
        }
        for (found, near_miss) in &self.wrong {
            let what = if near_miss.is_some() { "near-miss" } else { "nothing planted" };
            writeln!(
                formatter,
                "wrong: {} in {} at {}: {what}",
                found.rule,
                found.session_id,
                show(found.started_at)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(rule: Rule, started_at: Millis, ended_at: Millis, planted: Label) -> Sign {
        Sign { session_id: "s".into(), rule, started_at, ended_at, planted }
    }

    fn found(session: &str, rule: Rule, started_at: Millis, ended_at: Millis) -> Found {
        Found { session_id: session.into(), rule: rule.name().into(), started_at, ended_at }
    }

    #[test]
    fn each_signal_finds_one_sign_of_its_session_and_rule_that_it_meets() {
        use Rule::{Blocked, RageClick};
        let truth = [
            sign(RageClick, 10_000, 11_000, Label::Planted),
            sign(RageClick, 20_000, 21_000, Label::Planted),
            sign(RageClick, 30_000, 31_000, Label::NearMiss),
            sign(Blocked, 10_000, 50_000, Label::Planted),
        ];
        let signals = [
            found("s", RageClick, 13_000, 14_000),
            found("s", RageClick, 13_001, 14_000),
            found("s", RageClick, 23_001, 24_000),
            found("s", RageClick, 28_000, 28_000),
            found("other", Blocked, 10_000, 50_000),
            Found { rule: "of_their_own".into(), ..found("s", Blocked, 10_000, 50_000) },
        ];
        let report = evaluate(&truth, &signals);
        let rage = Score { planted: 2, signals: 4, right: 1, near_misses: 1, fired: 1 };
        assert_eq!(report.scores[&RageClick], rage);
        assert_eq!((rage.recall(), rage.precision()), (0.5, 0.25));
        assert_eq!(
            report.scores[&Blocked],
            Score { planted: 1, signals: 1, right: 0, near_misses: 0, fired: 0 }
        );
        assert_eq!((report.others, report.wrong.len()), (1, 4));
        assert_eq!(report.missed, [truth[3].clone(), truth[1].clone()]);
        let near_misses: Vec<_> = report.wrong.iter().filter_map(|(_, sign)| sign.clone()).collect();
        assert_eq!(near_misses, [truth[2].clone()]);
        let text = report.to_string();
        assert!(text.contains("rage_click              2        4   0.5000     0.2500            1      1"));
        assert!(text.contains("missed: blocked in s at 1970-01-01T00:00:10.000Z"));
        assert!(text.contains("wrong: rage_click in s at 1970-01-01T00:00:28.000Z: near-miss"));
    }

    #[test]
    fn rows_count_as_they_stand_in_the_end() {
        let row = |topic: &str, id: u8, start: u8, retracted: bool| {
            format!(
                r#"{{"topic":"{topic}","meta":{{"id":"{id}","version":{start},"retracted":{retracted}}},"session_id":"s","rule":"blocked","started_at":"1970-01-01T00:00:0{start}Z","ended_at":"1970-01-01T00:00:09.000Z","weight":1}}"#
            )
        };
        let rows = [
            row("signals", 1, 1, false),
            row("signals", 2, 1, false),
            row("sessions", 1, 2, false),
            String::new(),
            row("signals", 1, 3, false),
            row("signals", 2, 4, true),
        ];
        let signals = read_signals(rows.join("\n").as_bytes()).unwrap();
        assert_eq!(signals, [found("s", Rule::Blocked, 3_000, 9_000)]);
        let error = read_signals(format!("{}\n{{", rows[0]).as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 2 of the signals: EOF"), "{error}");
    }

    #[test]
    fn a_truth_file_reads_as_it_was_written() {
        let truth =
            [sign(Rule::QuickBack, 1, 2, Label::Planted), sign(Rule::ReloadLoop, 3, 4, Label::NearMiss)];
        let text = truth.each_ref().map(|sign| serde_json::to_string(sign).unwrap()).join("\n");
        assert_eq!(
            text.lines().next().unwrap(),
            r#"{"session_id":"s","rule":"quick_back","started_at":"1970-01-01T00:00:00.001Z","ended_at":"1970-01-01T00:00:00.002Z","planted":true}"#
        );
        assert!(text.ends_with(r#""planted":"near_miss"}"#));
        assert_eq!(read_truth(text.as_bytes()).unwrap(), truth);
        assert!(read_truth(text.replace("true", "false").as_bytes()).is_err());
    }
}
