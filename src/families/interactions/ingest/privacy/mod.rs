//! What an interaction may hold when it enters the log: the one place that every event passes, whatever its way.
//!
//! Each struct is taken apart field by field, without `..`: a new field does not compile until it is decided here what may
//! stand in it. A refusal names a field and what is allowed, never a value.

mod checks;

use compact_str::CompactString;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub use self::checks::Refusal;
use self::checks::{
    AGENT, Checked, ID, MESSAGE, PLACE, SELECTOR, URL, USER, at_least_zero, bounded, count, cut, hexadecimal,
    id, label, pixels, text, time, word,
};
use super::selector;
use super::url::{Place, Urls};
use crate::config::Secret;
use crate::families::interactions::event::{
    Body, Custom, Failure, Field, Interaction, Moves, Mutation, Navigation, Page, Pointer, Request, Scroll,
    Submit, Target, Validation,
};
use crate::ingest::sanitise;

/// The rules by which events are cleaned.
pub struct Privacy {
    hasher: Hmac<Sha256>,
    urls: Urls,
}

impl Privacy {
    /// Rules with the salt of hashes and those of URLs.
    pub fn new(salt: &Secret, urls: Urls) -> Self {
        // HMAC takes keys of any length.
        let hasher =
            Hmac::new_from_slice(salt.expose().as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self { hasher, urls }
    }

    /// The event as it may enter the log; what was given as the user, the URL and texts is raw.
    ///
    /// # Errors
    /// The first field that holds what is not allowed.
    pub fn clean(&self, event: Interaction) -> Checked<Interaction> {
        let Interaction {
            tenant,
            session_id,
            tab_id,
            window_id,
            page_view_id,
            event_id,
            seq,
            occurred_at,
            device_time,
            url,
            route,
            user,
            device,
            browser,
            os,
            sdk,
            body,
        } = event;
        let place = url.map(|url| self.place("url", &url)).transpose()?;
        let named = Some(route).filter(|route| !route.trim().is_empty());
        let route = match named {
            Some(route) => {
                bounded("route", &route, URL)?;
                self.urls
                    .route(&route)
                    .ok_or_else(|| Refusal::new("route", "expected a path, such as /orders/:id"))?
            }
            None => place.as_ref().map(|place| place.route.clone()).unwrap_or_default(),
        };
        Ok(Interaction {
            session_id: id("session_id", session_id)?,
            tab_id: if tab_id.is_empty() { tab_id } else { id("tab_id", tab_id)? },
            window_id: window_id.map(|text| id("window_id", text)).transpose()?,
            page_view_id: page_view_id.map(|text| id("page_view_id", text)).transpose()?,
            event_id: event_id.map(|text| id("id", text)).transpose()?,
            seq: seq.map(|seq| at_least_zero("seq", seq)).transpose()?,
            occurred_at: time("occurred_at", occurred_at)?,
            device_time: device_time.map(|at| time("occurred_at", at)).transpose()?,
            url: place.map(|place| cut(&place.url, PLACE)),
            route: cut(&route, PLACE),
            user: user.map(|user| self.user(&tenant, &user)).transpose()?.flatten(),
            device: text("device", device, AGENT)?,
            browser: text("browser", browser, AGENT)?,
            os: text("os", os, AGENT)?,
            sdk: text("sdk", sdk, AGENT)?,
            body: self.body(body)?,
            tenant,
        })
    }

    fn body(&self, body: Body) -> Checked<Body> {
        Ok(match body {
            Body::Pointer(Pointer { kind, x, y, viewport_width, viewport_height, target, selected_text }) => {
                let size = |name, size: Option<i32>| size.map(|size| count(name, size)).transpose();
                Body::Pointer(Pointer {
                    kind,
                    x: pixels("x", x)?,
                    y: pixels("y", y)?,
                    viewport_width: size("viewport.width", viewport_width)?,
                    viewport_height: size("viewport.height", viewport_height)?,
                    target: self.target(target)?,
                    selected_text,
                })
            }
            Body::Field(Field { kind, target, form }) => Body::Field(Field {
                kind,
                target: self.target(target)?,
                form: form.map(checks::form).transpose()?,
            }),
            Body::Submit(Submit { form, failed }) => {
                Body::Submit(Submit { form: checks::form(form)?, failed })
            }
            Body::Validation(Validation { form, target, code }) => Body::Validation(Validation {
                form: checks::form(form)?,
                target: target.map(|target| self.target(target)).transpose()?,
                code: code.map(|code| word("code", &code)).transpose()?,
            }),
            Body::Scroll(Scroll { x, y }) => Body::Scroll(Scroll { x: pixels("x", x)?, y: pixels("y", y)? }),
            Body::Moves(Moves { points }) => Body::Moves(Moves { points: checks::points(points)? }),
            Body::Navigation(Navigation { kind }) => Body::Navigation(Navigation { kind }),
            Body::Page(Page { kind }) => Body::Page(Page { kind }),
            Body::Mutation(Mutation { added, removed, attributes, texts }) => Body::Mutation(Mutation {
                added: count("added", added)?,
                removed: count("removed", removed)?,
                attributes: count("attributes", attributes)?,
                texts: count("texts", texts)?,
            }),
            Body::Request(Request { method, route, status, duration_ms }) => {
                if !(1..=16).contains(&method.len()) || !method.bytes().all(|byte| byte.is_ascii_alphabetic())
                {
                    return Err(Refusal::new("method", "expected 1 to 16 letters, such as GET"));
                }
                if !(0..1000).contains(&status) {
                    return Err(Refusal::new("status", "expected 0 to 999; 0: there was no answer"));
                }
                Body::Request(Request {
                    method: method.to_ascii_uppercase(),
                    route: cut(&self.place("request_url", &route)?.route, PLACE),
                    status,
                    duration_ms: count("duration_ms", duration_ms)?,
                })
            }
            Body::Error(Failure { kind, message, name, source }) => Body::Error(Failure {
                kind,
                message: cut(&sanitise::text(&message), MESSAGE),
                name: name.map(|name| word("name", &name)).transpose()?,
                source: source.map(|source| self.source(&source)).transpose()?,
            }),
            Body::Custom(Custom { name, fields }) => {
                Body::Custom(Custom { name: label("name", &name)?, fields: checks::fields(fields)? })
            }
        })
    }

    /// The same for the same user of a tenant, under one salt: 128 bits, in hexadecimal digits.
    fn user(&self, tenant: &str, user: &str) -> Checked<Option<CompactString>> {
        let user = user.trim();
        bounded("user", user, USER)?;
        if user.is_empty() {
            return Ok(None);
        }
        let mut hasher = self.hasher.clone();
        hasher.update(&(tenant.len() as u64).to_be_bytes());
        hasher.update(tenant.as_bytes());
        hasher.update(user.as_bytes());
        Ok(Some(hexadecimal(&hasher.finalize().into_bytes()[..16])))
    }

    fn place(&self, field: &'static str, url: &str) -> Checked<Place> {
        bounded(field, url, URL)?;
        self.urls
            .clean(url)
            .ok_or_else(|| Refusal::new(field, "expected a URL, such as https://shop.example/cart or /cart"))
    }

    /// A script's URL, or what else the browser said: `app.js`, `<anonymous>`.
    fn source(&self, source: &str) -> Checked<CompactString> {
        bounded("source", source, URL)?;
        let clean = match self.urls.clean(source) {
            Some(place) if source.contains("://") || source.starts_with('/') => place.url,
            _ => sanitise::text(source).into_owned(),
        };
        Ok(cut(&clean, PLACE))
    }

    fn target(&self, target: Target) -> Checked<Target> {
        let Target { selector, tag, role, text_hash, interactive } = target;
        bounded("target.selector", &selector, SELECTOR)?;
        let is_tag = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
        if tag.len() > 64 || !tag.chars().all(is_tag) {
            return Err(Refusal::new("target.tag", "expected a tag's name, such as button"));
        }
        let is_role = |role: &str| {
            (1..=32).contains(&role.len()) && role.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        };
        let role = role.map(|role| role.trim().to_ascii_lowercase()).filter(|role| !role.is_empty());
        if role.as_deref().is_some_and(|role| !is_role(role)) {
            return Err(Refusal::new("target.role", "expected an ARIA role, such as button"));
        }
        // Whoever sends the text itself here has its hash in the log; a hash becomes another.
        let text_hash = match text_hash {
            None => None,
            Some(text) => {
                bounded("target.text_hash", &text, ID)?;
                Some(hexadecimal(&Sha256::digest(text.as_bytes())[..8])).filter(|_| !text.trim().is_empty())
            }
        };
        Ok(Target {
            selector: selector::clean(&selector).into(),
            tag: tag.to_ascii_lowercase(),
            role: role.map(CompactString::from),
            text_hash,
            interactive,
        })
    }
}

#[cfg(test)]
mod tests;
