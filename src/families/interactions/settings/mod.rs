//! What can be set of the family interactions: sessions, rules, incidents.

mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::rules::RuleDocument;
use crate::engine::{Millis, TenantSettings};
use crate::families::incident::Severity;
use crate::families::interactions::frustration::element::ElementRules;
use crate::families::interactions::frustration::settings::InteractionSettings;
use crate::settings::{Document, Json, Problem, Span, merged, within};

const HOUR: Millis = 3_600_000;

/// Settings of the family interactions. What a document does not name is inherited, also within a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InteractionsSettings {
    /// How far a session's events may be out of order: its watermark stays so far behind its newest event (Flink's bound of
    /// out-of-orderness). Events that one tab counts by `seq` without a gap need none; then it counts only for silence.
    pub allowance: Span,
    /// How long a session that has ended still takes late events. Then its rows are final, and what comes later goes to `late_events`.
    pub grace: Span,
    /// A session ends when nobody has done anything for so long.
    pub gap: Span,
    /// The longest duration of a session; at least `gap`.
    pub maximum: Span,
    /// Pauses longer than this between two actions of a person do not count as active time.
    pub active_gap: Span,
    /// How many events of a session are kept in the state. Late events change signals only where the events around them are kept.
    pub events: u32,
    /// Movements of the pointer shorter than this have no direction, in px.
    pub least_step: u32,
    /// Signals on one route that are at most so far apart make one incident.
    pub together: Span,
    /// Added to the score of an incident in which the system answered with an error.
    pub error_bonus: u32,
    /// Incidents below this severity are not emitted; their signals are.
    pub opens_at: SeverityName,
    /// Patterns of routes, at most 200: what matches `/blog/*` is counted as this one route.
    pub routes: Vec<String>,
    /// How elements are told apart.
    pub element: ElementDocument,
    /// Replaces some default rules by a vendor's definitions.
    pub preset: Option<Preset>,
    /// The rules by name, at most 32. What a rule does not name is inherited from the default rule of that name.
    pub rules: BTreeMap<String, RuleDocument>,
}

/// How grave an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeverityName {
    /// Noticeable; it needs no action.
    Low,
    /// It should be looked into.
    Medium,
    /// To be acted on.
    High,
    /// To be acted on at once.
    Critical,
}

/// How elements are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Element")]
#[serde(default, deny_unknown_fields)]
pub struct ElementDocument {
    /// Patterns, at most 200, of classes and ids that are generated and left out of selectors; `*` stands for anything.
    pub generated: Vec<String>,
    /// Whether elements with different texts are different elements.
    pub by_text: bool,
}

/// A vendor's definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// PostHog's rage click: 3 clicks, each less than 30 px (Manhattan) and 1 s from the one before
    /// (<https://github.com/PostHog/posthog-js>, `src/extensions/rageclick.ts`).
    Posthog,
    /// Sentry's dead and rage click: a click on a link, button or input without a mutation within 7 s, and 5 of them
    /// (<https://github.com/getsentry/sentry>, `src/sentry/replays/usecases/ingest/event_parser.py`).
    Sentry,
}

impl Default for InteractionsSettings {
    fn default() -> Self {
        Self {
            allowance: Span(10_000),
            grace: Span(HOUR),
            gap: Span(HOUR / 2),
            maximum: Span(24 * HOUR),
            active_gap: Span(5_000),
            events: 2_000,
            least_step: 10,
            together: Span(30_000),
            error_bonus: 10,
            opens_at: SeverityName::Medium,
            routes: Vec::new(),
            element: ElementDocument::default(),
            preset: None,
            rules: rules::defaults(),
        }
    }
}

impl Document for InteractionsSettings {
    const FAMILY: &'static str = "interactions";
    const DUPLICATE_HORIZON: Millis = 24 * HOUR;
    type Operator = Arc<InteractionSettings>;

    /// Laid over the defaults, or over those of the preset that the layers name.
    fn read(layers: &[&Json]) -> Result<Self, Problem> {
        let own = merged(layers);
        let problem = |error: serde_path_to_error::Error<serde_json::Error>| Problem {
            path: error.path().to_string(),
            reason: error.into_inner().to_string(),
        };
        let preset = own.get("preset").filter(|preset| !preset.is_null());
        let preset: Option<Preset> = preset
            .map(serde_path_to_error::deserialize)
            .transpose()
            .map_err(|error| Problem { path: "preset".to_owned(), ..problem(error) })?;
        let mut defaults = Self { preset, ..Self::default() };
        match preset {
            Some(Preset::Posthog) => rules::posthog(&mut defaults.rules),
            Some(Preset::Sentry) => rules::sentry(&mut defaults.rules),
            None => {}
        }
        let Ok(Value::Object(defaults)) = serde_json::to_value(defaults) else {
            // A struct of plain fields is an object.
            return Err(Problem { path: String::new(), reason: "the defaults are no object".to_owned() });
        };
        let document: Self =
            serde_path_to_error::deserialize(Value::Object(merged(&[&defaults, &own]))).map_err(problem)?;
        document.check()?;
        Ok(document)
    }

    fn check(&self) -> Result<(), Problem> {
        within("allowance", self.allowance, 0, HOUR)?;
        within("grace", self.grace, 0, 7 * 24 * HOUR)?;
        within("gap", self.gap, 1_000, 24 * HOUR)?;
        within("maximum", self.maximum, self.gap.0, 7 * 24 * HOUR)?;
        within("active_gap", self.active_gap, 0, HOUR)?;
        within("together", self.together, 0, HOUR)?;
        let bounds = |path: &str, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            let reason = format!("{value} is out of bounds: expected {least} to {most}");
            Err(Problem { path: path.to_owned(), reason })
        };
        bounds("events", self.events, 100, 20_000)?;
        bounds("least_step", self.least_step, 1, 1_000)?;
        bounds("error_bonus", self.error_bonus, 0, 100)?;
        bounds("rules", self.rules.len() as u32, 0, 32)?;
        bounds("routes", self.routes.len() as u32, 0, 200)?;
        bounds("element.generated", self.element.generated.len() as u32, 0, 200)?;
        self.rules.iter().try_for_each(|(name, rule)| rule.rule(name).map(drop))
    }

    fn settings(&self) -> TenantSettings<Self::Operator> {
        let rules = self.rules.iter().filter_map(|(name, rule)| rule.rule(name).ok().flatten());
        let operator = InteractionSettings {
            gap: self.gap.0,
            maximum: self.maximum.0,
            grace: self.grace.0,
            active_gap: self.active_gap.0,
            events: self.events as usize,
            least_step: i32::try_from(self.least_step).unwrap_or(i32::MAX),
            together: self.together.0,
            error_bonus: i64::from(self.error_bonus),
            opens_at: match self.opens_at {
                SeverityName::Low => Severity::Low,
                SeverityName::Medium => Severity::Medium,
                SeverityName::High => Severity::High,
                SeverityName::Critical => Severity::Critical,
            },
            routes: self.routes.clone(),
            element: ElementRules {
                generated: self.element.generated.clone(),
                by_text: self.element.by_text,
            },
            rules: rules.collect(),
        };
        TenantSettings { allowance: self.allowance.0, operator: Arc::new(operator) }
    }
}

#[cfg(test)]
mod tests;
