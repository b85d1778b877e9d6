use super::*;
use crate::families::interactions::event::{FieldKind, PageKind, Point};

fn privacy(salt: &str) -> Privacy {
    Privacy::new(&Secret::from(salt), Urls::new([], None))
}

fn event(body: Body) -> Interaction {
    Interaction {
        tenant: "boston".into(),
        session_id: "s-1".into(),
        tab_id: "".into(),
        window_id: None,
        page_view_id: None,
        event_id: None,
        seq: None,
        occurred_at: 7,
        device_time: None,
        url: None,
        route: "".into(),
        user: None,
        device: None,
        browser: None,
        os: None,
        sdk: None,
        body,
    }
}

fn shown() -> Interaction {
    event(Body::Page(Page { kind: PageKind::Show }))
}

fn user(salt: &str, tenant: &str, user: &str) -> Option<CompactString> {
    let event = Interaction { tenant: tenant.into(), user: Some(user.into()), ..shown() };
    privacy(salt).clean(event).unwrap().user
}

#[test]
fn a_user_is_known_again_and_not_named() {
    let hash = user("salt", "boston", "ann").unwrap();
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    assert_eq!(user("salt", "boston", " ann "), Some(hash.clone()));
    for (salt, tenant, name) in
        [("other", "boston", "ann"), ("salt", "salem", "ann"), ("salt", "boston", "bob")]
    {
        assert_ne!(user(salt, tenant, name).as_ref(), Some(&hash));
    }
    assert_eq!(user("salt", "boston", " "), None);
}

#[test]
fn ids_have_no_room_for_addresses_and_prose() {
    for (id, is_fit) in [
        ("ceee0822-ed8f-4622-b2a3-789e73e75cd1", true),
        ("s/1+2=~:|", true),
        ("", false),
        ("two words", false),
        ("ann@b.example", false),
        ("tab\t", false),
        ("jörg", false),
        (&*"x".repeat(128), true),
        (&*"x".repeat(129), false),
    ] {
        let found = privacy("s").clean(Interaction { session_id: id.into(), ..shown() });
        assert_eq!(found.is_ok(), is_fit, "{id}");
        if let Err(refusal) = found {
            assert_eq!(refusal.field, "session_id");
            assert!(id.is_empty() || !refusal.reason.contains(id));
        }
    }
}

#[test]
fn the_route_follows_from_the_url_unless_it_is_named() {
    let clean = |url: Option<&str>, route: &str| {
        let event = Interaction { url: url.map(Into::into), route: route.into(), ..shown() };
        privacy("s").clean(event).unwrap().route
    };
    assert_eq!(clean(Some("https://s.example/orders/123"), ""), "/orders/:id");
    assert_eq!(clean(Some("https://s.example/orders/123"), "/order/77"), "/order/:id");
    assert_eq!(clean(None, "orders/{id}"), "/orders/{id}");
    assert_eq!(clean(None, ""), "");
}

#[test]
fn a_target_keeps_what_an_element_is() {
    let target = Target {
        selector: "input[value=\"hunter2\"]".into(),
        tag: "INPUT".into(),
        role: Some(" Textbox ".into()),
        text_hash: Some("hunter2".into()),
        interactive: true,
    };
    let field = Field { kind: FieldKind::Input, target, form: Some("Sign in".into()) };
    let Body::Field(clean) = privacy("s").clean(event(Body::Field(field))).unwrap().body else { panic!() };
    assert_eq!((clean.target.selector.as_str(), clean.target.tag.as_str()), ("input[value]", "input"));
    assert_eq!((clean.target.role.as_deref(), clean.form.as_deref()), (Some("textbox"), Some("Sign in")));
    let hash = clean.target.text_hash.unwrap();
    assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
}

#[test]
fn custom_fields_are_cleaned_by_name_and_by_value() {
    let fields = [
        ("plan", "pro"),
        ("password", "hunter2"),
        ("userId", "ann"),
        ("user_email", "x"),
        ("note", "from ann@b.example"),
        ("amount", "12.50"),
    ];
    let fields = fields.map(|(name, value)| (name.into(), value.into())).into();
    let body = Body::Custom(Custom { name: "plan chosen".into(), fields });
    let Body::Custom(clean) = privacy("s").clean(event(body)).unwrap().body else { panic!() };
    let clean: Vec<_> = clean.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        clean,
        [
            ("amount", "12.50"),
            ("note", "from [REDACTED_EMAIL]"),
            ("password", "[REDACTED]"),
            ("plan", "pro"),
            ("userId", "[REDACTED]"),
            ("user_email", "[REDACTED]"),
        ]
    );
}

#[test]
fn points_are_few_and_in_order() {
    let points = |after: &[i32]| {
        let points = after.iter().map(|after| Point { after: *after, x: 1, y: 2 }).collect();
        privacy("s")
            .clean(event(Body::Moves(Moves { points })))
            .map_err(|refusal| refusal.reason.into_owned())
    };
    assert!(points(&[0, 0, 5]).is_ok());
    assert!(points(&vec![0; 500]).is_ok());
    for (after, expected) in [
        (&[][..], "expected 1 to 500 points"),
        (&[0; 501], "expected 1 to 500 points"),
        (&[5, 4], "after_ms may not fall from point to point"),
        (&[-1], "after_ms: expected 0 to 3600000 ms"),
    ] {
        assert_eq!(points(after).unwrap_err(), expected);
    }
}
