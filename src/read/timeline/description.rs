//! What the API says of a timeline in its own description.

use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::{Column, Holds, Timeline};
use crate::read::openapi::{self, Described};
use crate::resource::Resource;

impl Timeline {
    pub(super) fn describe(&self, of: &Resource, beside: &Resource) -> Described {
        let text = |format, doc: &str| {
            ObjectBuilder::new().schema_type(Type::String).format(format).description(Some(doc)).build()
        };
        let number =
            |doc: &str| ObjectBuilder::new().schema_type(Type::Integer).description(Some(doc)).build();
        let time = Some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
        let mut event = ObjectBuilder::new()
            .property("partition", number(&format!("Its partition of the topic `{}`.", self.family)))
            .property("offset", number("Its offset there."))
            .property("type", text(None, "What happened, as the route that takes events calls it."))
            .property("occurred_at", text(time, "When it happened."));
        for Column { name, holds, doc } in self.columns {
            let r#type = if *holds == Holds::OptionalNumber { Type::Integer } else { Type::String };
            let column = ObjectBuilder::new().description(Some(*doc));
            event = event.property(
                *name,
                match holds {
                    Holds::Text => column.schema_type(r#type),
                    _ => column.schema_type(SchemaType::from_iter([r#type, Type::Null])),
                },
            );
        }
        let body = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("What is particular to the type, as it lies in the log."));
        event = event.property("body", body);
        let names = ["partition", "offset", "type", "occurred_at", "body"].into_iter();
        let event =
            names.chain(self.columns.iter().map(|column| column.name)).fold(event, ObjectBuilder::required);
        let next_cursor = openapi::nullable(
            Object::with_type(Type::String),
            "Where the next page begins; `null` on the last one.",
        );
        let rows = ArrayBuilder::new()
            .items(Ref::from_schema_name(beside.name))
            .description(Some("Those that begin within this page, in the order in which they do."));
        let events = ArrayBuilder::new()
            .items(Ref::from_schema_name("TimelineEvent"))
            .description(Some("In the order in which they happened."));
        let page = ObjectBuilder::new()
            .property("events", events)
            .required("events")
            .property(beside.member(), rows)
            .required(beside.member())
            .property("next_cursor", next_cursor)
            .required("next_cursor");
        let parameters = [
            openapi::time("from", "What happened at that time or later."),
            openapi::time("to", "What happened before that time."),
        ];
        let operation =
            openapi::of_row("get{}Timeline", of, "What happened, in the order in which it did, in pages.");
        let operation = openapi::with(operation, parameters.into_iter().chain(openapi::paging()));
        let operation = openapi::with(operation, openapi::conditional())
            .description(Some("An event that came twice is there once."))
            .response("200", openapi::dated("A page.", page, "Of the page."))
            .response("304", openapi::known("page"));
        let schemas = vec![("TimelineEvent".to_owned(), RefOr::T(Schema::from(event.build())))];
        Described::new(&format!("{}/{{id}}/timeline", of.route), schemas, operation.build())
    }
}
