//! Authentication by API keys from the configuration: the tenant of the caller, and its scopes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};

use super::ApiError;
use crate::config::{ApiKeyConfig, Scope};

/// The tenant for which a request speaks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant of a row that was read, for comparison with a caller's.
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Every API key. They are held and looked up by their SHA-256, so that neither memory nor the time
/// that a look-up takes tells a key.
#[derive(Clone)]
pub struct ApiKeys(Arc<HashMap<[u8; 32], Grant>>);

struct Grant {
    tenant: Tenant,
    scopes: Vec<Scope>,
}

impl ApiKeys {
    /// The keys that the configuration names.
    pub fn new(keys: &[ApiKeyConfig]) -> Self {
        let grant = |key: &ApiKeyConfig| Grant {
            tenant: Tenant(key.tenant.as_str().into()),
            scopes: key.scopes.clone(),
        };
        Self(Arc::new(keys.iter().map(|key| (hash(key.key.expose().as_bytes()), grant(key))).collect()))
    }

    /// The tenant of the request's key, if that may do `scope`.
    fn authorize(&self, parts: &Parts, scope: Scope) -> Result<Tenant, ApiError> {
        self.tenant(presented(parts).ok_or_else(ApiError::unauthorized)?, scope)
    }

    /// The tenant of a key, if that may do `scope`.
    pub(crate) fn tenant(&self, key: &[u8], scope: Scope) -> Result<Tenant, ApiError> {
        let grant = self.0.get(&hash(key)).ok_or_else(ApiError::unauthorized)?;
        if !grant.scopes.contains(&scope) {
            return Err(ApiError::forbidden(scope));
        }
        Ok(grant.tenant.clone())
    }
}

/// The key that the request carries: `Authorization: Bearer KEY`, else `X-Api-Key: KEY`.
fn presented(parts: &Parts) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let bearer = parts.headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then(|| key.trim_ascii())
    });
    bearer.or_else(|| Some(parts.headers.get("x-api-key")?.as_bytes()))
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// An extractor of the tenant of a key with a scope.
macro_rules! extractor {
    ($(#[$doc:meta])* $name:ident, $scope:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Tenant);

        impl<S: Send + Sync> FromRequestParts<S> for $name
        where
            ApiKeys: FromRef<S>,
        {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
                ApiKeys::from_ref(state).authorize(parts, Scope::$scope).map(Self)
            }
        }
    };
}

extractor!(
    /// Extracts the tenant of a key with the scope `ingest`; refuses with 401 or 403.
    CanIngest,
    Ingest
);
extractor!(
    /// Extracts the tenant of a key with the scope `read`; refuses with 401 or 403.
    CanRead,
    Read
);
extractor!(
    /// Extracts the tenant of a key with the scope `admin`; refuses with 401 or 403.
    CanAdmin,
    Admin
);

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn keys() -> ApiKeys {
        let key = |json| serde_json::from_value::<ApiKeyConfig>(json).unwrap();
        ApiKeys::new(&[
            key(serde_json::json!({"key": "write-only", "tenant": "a", "scopes": ["ingest"]})),
            key(serde_json::json!({"key": "read-only", "tenant": "b", "scopes": ["read"]})),
        ])
    }

    fn authorize(headers: &[(&str, &str)], scope: Scope) -> Result<String, &'static str> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        keys().authorize(&parts, scope).map(|tenant| tenant.as_str().to_owned()).map_err(|error| error.code())
    }

    #[test]
    fn a_key_gives_its_tenant_and_scopes_and_nothing_else() {
        for (headers, scope, expected) in [
            (&[("authorization", "Bearer write-only")][..], Scope::Ingest, Ok("a")),
            (&[("authorization", "bearer  write-only")], Scope::Ingest, Ok("a")),
            (&[("x-api-key", "write-only")], Scope::Ingest, Ok("a")),
            (&[("x-api-key", "read-only")], Scope::Read, Ok("b")),
            (&[("authorization", "Basic eA=="), ("x-api-key", "read-only")], Scope::Read, Ok("b")),
            (&[("x-api-key", "write-only")], Scope::Read, Err("forbidden")),
            (&[("x-api-key", "read-only")], Scope::Admin, Err("forbidden")),
            (&[("x-api-key", "write-onlx")], Scope::Ingest, Err("unauthorized")),
            (&[("x-api-key", "")], Scope::Ingest, Err("unauthorized")),
            (&[("authorization", "Bearer ")], Scope::Ingest, Err("unauthorized")),
            (&[("authorization", "write-only")], Scope::Ingest, Err("unauthorized")),
            (&[], Scope::Ingest, Err("unauthorized")),
        ] {
            let found = authorize(headers, scope);
            assert_eq!(found.as_deref().map_err(|code| *code), expected, "{headers:?}");
        }
    }
}
