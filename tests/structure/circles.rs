//! Circles among files: the strongly connected components of more than one.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::Tie;

/// The circles, each as the ties between its files.
pub fn circles(ties: &[Tie]) -> Vec<Vec<&Tie>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for tie in ties {
        next.entry(&tie.from).or_default().push(&tie.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|file| (*file, reach(file, &next))).collect();
    let leads = |from: &str, to: &str| reached.get(from).is_some_and(|files| files.contains(to));
    let mut found: Vec<Vec<&Tie>> = Vec::new();
    for tie in ties.iter().filter(|tie| leads(&tie.to, &tie.from)) {
        match found
            .iter_mut()
            .find(|circle| leads(&circle[0].from, &tie.from) && leads(&tie.from, &circle[0].from))
        {
            Some(circle) => circle.push(tie),
            None => found.push(vec![tie]),
        }
    }
    found
}

/// All files to which the ties lead from one.
fn reach<'a>(file: &'a str, next: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![file];
    while let Some(file) = waiting.pop() {
        waiting.extend(next.get(file).into_iter().flatten().filter(|file| reached.insert(**file)));
    }
    reached
}
