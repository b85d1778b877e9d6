//! Which incidents are asked for: the parameters that `/v1/incidents` and its stream share.

use utoipa::{IntoParams, ToSchema};

use super::incidents::IncidentAnswer;
use super::parameters::Parameters;
use super::queries::{Filter, Parameter};
use crate::event::Millis;
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
    /// The rule that found it.
    rule: Option<String>,
    /// How grave it is.
    #[param(inline)]
    severity: Option<SeverityName>,
    /// What it is about.
    subject: Option<String>,
    /// Whether it has no end yet.
    open: Option<bool>,
    /// Begun at that time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Begun before that time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// What incidents are asked for. The same conditions hold in SQL and in memory.
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
    /// Takes its parameters.
    pub fn take(parameters: &mut Parameters) -> Result<Self, ApiError> {
        let severity =
            |text: &str| ["low", "medium", "high", "critical"].contains(&text).then(|| text.to_owned());
        let time = |text: &str| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond());
        let rfc3339 = "a time in RFC 3339, for example 2011-07-01T00:00:00Z";
        Ok(Self {
            family: parameters.text("family"),
            rule: parameters.text("rule"),
            severity: parameters.parsed("severity", "low, medium, high or critical", severity)?,
            subject: parameters.text("subject"),
            open: parameters.parsed("open", "true or false", |text| text.parse().ok())?,
            from: parameters.parsed("from", rfc3339, time)?,
            to: parameters.parsed("to", rfc3339, time)?,
            attributes: parameters.with_prefix("attribute."),
        })
    }

    /// Those of a severity.
    #[cfg(test)]
    pub fn of_severity(severity: &str) -> Self {
        Self { severity: Some(severity.to_owned()), ..Self::default() }
    }

    /// The same in SQL.
    pub(super) fn sql(&self) -> Filter {
        let text = |value: &Option<String>| value.clone().map(Parameter::Text);
        let conditions = [
            ("family = ?", text(&self.family)),
            ("rule = ?", text(&self.rule)),
            ("severity = ?", text(&self.severity)),
            ("subject = ?", text(&self.subject)),
            ("started_at >= ?", self.from.map(Parameter::Time)),
            ("started_at < ?", self.to.map(Parameter::Time)),
        ];
        let mut filter = Filter::default();
        for (condition, value) in conditions {
            if let Some(value) = value {
                filter = filter.and(condition, [value]);
            }
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

    /// Whether it leaves this incident.
    pub fn matches(&self, incident: &IncidentAnswer) -> bool {
        self.may_have_matched(incident)
            && self.severity.as_ref().is_none_or(|severity| *severity == incident.severity)
            && self.open.is_none_or(|open| open == incident.ended_at.is_none())
            && self.from.is_none_or(|from| incident.started_at >= from)
            && self.to.is_none_or(|to| incident.started_at < to)
            && self.attributes.iter().all(|(name, value)| {
                // As in SQL: what is not there is empty.
                incident.attributes.get(name).map_or("", String::as_str) == value
            })
    }

    /// Whether it may have left an earlier version of this incident: what never changes matches.
    pub fn may_have_matched(&self, incident: &IncidentAnswer) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.family, &incident.family)
            && is(&self.rule, &incident.rule)
            && is(&self.subject, &incident.subject)
    }

    /// What it takes in memory behind its own fields, about.
    pub fn bytes(&self) -> usize {
        let Self { family, rule, severity, subject, attributes, .. } = self;
        let texts = [family, rule, severity, subject].into_iter().flatten().map(String::len);
        let attributes = attributes.iter().map(|(name, value)| 64 + name.len() + value.len());
        texts.chain(attributes).sum()
    }
}
