//! Which incidents are asked for: the parameters that `/v1/incidents` and its stream share.

use utoipa::{IntoParams, ToSchema};

use super::incidents::IncidentAnswer;
use super::listed::RowFilter;
use super::parameters::Parameters;
use super::queries::{Filter, Parameter};
use crate::engine::Millis;
use crate::http::ApiError;

/// How grave an incident is.
#[derive(ToSchema)]
#[schema(as = Severity, rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes Severity, which knows no HTTP (I2)")]
pub(super) enum SeverityName {
    Low,
    Medium,
    High,
    Critical,
}

/// The parameters of an [`IncidentFilter`].
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what IncidentFilter takes")]
pub(super) struct FilterParameters {
    /// The family whose records are behind it.
    family: Option<String>,
    /// The rule that found it, or one of those whose signals it holds together.
    rule: Option<String>,
    /// How grave it is.
    #[param(inline)]
    severity: Option<SeverityName>,
    /// What it is about.
    subject: Option<String>,
    /// The route on which it happened.
    route: Option<String>,
    /// The session in which it happened, as its producer names it.
    session: Option<String>,
    /// Whether it has no end yet.
    open: Option<bool>,
    /// Begun at that time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Begun before that time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// Attributes that have filters of their own.
const ROUTE: &str = "route";
const SESSION: &str = "session";
/// The rules of the signals that an incident holds together: the names, with commas between.
const RULES: &str = "rules";

/// Which incidents are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct IncidentFilter {
    family: Option<String>,
    rule: Option<String>,
    severity: Option<String>,
    subject: Option<String>,
    open: Option<bool>,
    from: Option<Millis>,
    to: Option<Millis>,
    attributes: Vec<(String, String)>,
}

impl IncidentFilter {
    /// Those of a severity.
    #[cfg(test)]
    pub fn of_severity(severity: &str) -> Self {
        Self { severity: Some(severity.to_owned()), ..Self::default() }
    }

    /// Whether it may have left an earlier version of this incident: what never changes matches.
    pub fn may_have_matched(&self, incident: &IncidentAnswer) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.family, &incident.family)
            // Which rules' signals it holds together may have changed.
            && (is(&self.rule, &incident.rule) || incident.attributes.contains_key(RULES))
            && is(&self.subject, &incident.subject)
    }

    fn has_rule(&self, incident: &IncidentAnswer) -> bool {
        self.rule.as_ref().is_none_or(|rule| {
            let rules = incident.attributes.get(RULES).map_or("", String::as_str);
            incident.rule == *rule || rules.split(',').any(|other| other == rule)
        })
    }
}

impl RowFilter for IncidentFilter {
    type Row = IncidentAnswer;

    fn take(parameters: &mut Parameters) -> Result<Self, ApiError> {
        let severity =
            |text: &str| ["low", "medium", "high", "critical"].contains(&text).then(|| text.to_owned());
        let mut attributes = parameters.with_prefix("attribute.");
        for name in [ROUTE, SESSION] {
            attributes.extend(parameters.text(name).map(|value| (name.to_owned(), value)));
        }
        Ok(Self {
            family: parameters.text("family"),
            rule: parameters.text("rule"),
            severity: parameters.parsed("severity", "low, medium, high or critical", severity)?,
            subject: parameters.text("subject"),
            open: parameters.flag("open")?,
            from: parameters.time("from")?,
            to: parameters.time("to")?,
            attributes,
        })
    }

    fn sql(&self) -> Filter {
        let text = |value: &Option<String>| value.clone().map(Parameter::Text);
        let mut filter = Filter::default()
            .and_if("family = ?", text(&self.family))
            .and_if("severity = ?", text(&self.severity))
            .and_if("subject = ?", text(&self.subject))
            .and_if("started_at >= ?", self.from.map(Parameter::Time))
            .and_if("started_at < ?", self.to.map(Parameter::Time));
        if let Some(rule) = text(&self.rule) {
            let values = [rule.clone(), rule];
            filter = filter.and("(rule = ? OR has(splitByChar(',', attributes['rules']), ?))", values);
        }
        match self.open {
            Some(true) => filter = filter.and("ended_at IS NULL", []),
            Some(false) => filter = filter.and("ended_at IS NOT NULL", []),
            None => {}
        }
        for (name, value) in &self.attributes {
            let values = [Parameter::Text(name.clone()), Parameter::Text(value.clone())];
            filter = filter.and("attributes[?] = ?", values);
        }
        filter
    }

    fn matches(&self, incident: &IncidentAnswer) -> bool {
        self.may_have_matched(incident)
            && self.has_rule(incident)
            && self.severity.as_ref().is_none_or(|severity| *severity == incident.severity)
            && self.open.is_none_or(|open| open == incident.ended_at.is_none())
            && self.from.is_none_or(|from| incident.started_at >= from)
            && self.to.is_none_or(|to| incident.started_at < to)
            && self.attributes.iter().all(|(name, value)| {
                // As in SQL: what is not there is empty.
                incident.attributes.get(name).map_or("", String::as_str) == value
            })
    }

    fn bytes(&self) -> usize {
        let Self { family, rule, severity, subject, attributes, .. } = self;
        let texts = [family, rule, severity, subject].into_iter().flatten().map(String::len);
        let attributes = attributes.iter().map(|(name, value)| 64 + name.len() + value.len());
        texts.chain(attributes).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn incident(rule: &str, rules: Option<&str>) -> IncidentAnswer {
        let mut row = json!({
            "id": uuid::Uuid::nil(), "version": 1, "operator": "x", "operator_version": 1, "settings_version": 0,
            "family": "interactions", "rule": rule, "severity": "high", "subject": "s", "title": "x", "started_at": 5,
            "ended_at": 9, "first_arrival": 0, "final": false, "attributes": { "route": "/pay", "session": "s" },
            "evidence_count": 0, "evidence_first": [], "evidence_last": [],
        });
        if let Some(rules) = rules {
            row["attributes"]["rules"] = rules.into();
        }
        serde_json::from_value(row).unwrap()
    }

    fn by_rule(rule: &str) -> IncidentFilter {
        IncidentFilter { rule: Some(rule.to_owned()), ..IncidentFilter::default() }
    }

    #[test]
    fn an_incident_has_the_rules_of_its_signals() {
        let found = incident("frustration", Some("dead_click,rage_click"));
        for (rule, is_left) in
            [("frustration", true), ("dead_click", true), ("rage_click", true), ("click", false), ("", false)]
        {
            assert_eq!(by_rule(rule).matches(&found), is_left, "{rule}");
            assert!(by_rule(rule).may_have_matched(&found), "{rule}: an earlier version may have had it");
        }
        let of_one_rule = incident("sla_breach", None);
        assert!(by_rule("sla_breach").matches(&of_one_rule));
        assert!(!by_rule("rage_click").may_have_matched(&of_one_rule), "its rule never changes");
    }
}
