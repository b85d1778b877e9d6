//! The way from the bytes of a record to several outputs (columns, members of a JSON object), compiled for a pair of schemas:
//! the writer's, and the reader's, which the outputs are made for. A datum is walked once; what nobody takes is passed over.
//!
//! The two are resolved by Avro's rules, when the program is compiled: fields by their names, and what the writer did not know by
//! the default that the reader's schema has for it.

use apache_avro::Schema;
use apache_avro::schema::RecordSchema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use super::datum::{Datum, Malformed};
use super::shape::{Scoped, Shape};

/// How a value is written: what a program is made of.
pub trait Convert: Sized {
    /// As what a field is written.
    type Form<'a>: Clone;
    /// Why a value can't be written.
    type Fault: From<Malformed>;

    /// How values of `writer`, read as `reader`, are written in a form. `None` if that can't be done for all values, save for
    /// their range.
    fn new(writer: Scoped<'_>, reader: Scoped<'_>, form: &Self::Form<'_>) -> Option<Self>;

    /// Reads a value and appends it to `written`. After an error `written` holds a part of it.
    ///
    /// # Errors
    /// The bytes don't follow the schema, or the value does not fit.
    fn write(&self, datum: &mut Datum<'_>, written: &mut Vec<u8>) -> Result<(), Self::Fault>;
}

/// What is written of a record.
#[derive(Debug, Clone)]
pub struct Output<'a, F> {
    /// The names of the fields on the way.
    pub path: Vec<&'a str>,
    /// As what.
    pub form: F,
}

/// What can't be compiled.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The output at that place.
    Output(usize),
    /// The writer's schema holds what is not read.
    Schema,
}

/// Writes the outputs of a record.
#[derive(Debug, PartialEq)]
pub struct Program<C> {
    /// One after the other through the datum.
    steps: Vec<Step<C>>,
    /// How many outputs there are.
    outputs: usize,
    /// Whether the steps come upon the outputs in their order.
    in_order: bool,
}

/// A value in the datum, and what is made of it: the place of an output, and how it is written.
#[derive(Debug, PartialEq)]
struct Step<C> {
    shape: Shape,
    takes: Vec<(usize, Take<C>)>,
}

/// How an output is made of a value.
#[derive(Debug, PartialEq)]
enum Take<C> {
    /// Of the value itself.
    Value(C),
    /// Of something in it.
    Inside(Program<C>),
    /// Of nothing: the writer knew no such field.
    Constant(Vec<u8>),
}

impl<C: Convert> Take<C> {
    fn write(&self, datum: &mut Datum<'_>, row: &mut Vec<u8>) -> Result<(), C::Fault> {
        match self {
            Self::Value(value) => value.write(datum, row),
            Self::Inside(program) => program.write(datum, row).map_err(|(_, fault)| fault),
            Self::Constant(bytes) => {
                row.extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

impl<C: Convert> Program<C> {
    /// From records of `writer` to `outputs`, which are named as in `reader`.
    ///
    /// # Errors
    /// An output can't be made of what the writer wrote.
    pub fn new(
        writer: Scoped<'_>,
        reader: Scoped<'_>,
        outputs: &[Output<'_, C::Form<'_>>],
    ) -> Result<Self, Unfit> {
        let mut steps = Vec::new();
        let mut constants = Vec::new();
        compile(writer, reader, outputs.iter().cloned().enumerate().collect(), &mut steps, &mut constants)?;
        constants.sort_by_key(|(place, _)| *place);
        for (place, constant) in constants {
            // Before the first that follows it, so that what can be in order is.
            let follows = |step: &Step<C>| step.takes.iter().any(|(taken, _)| *taken > place);
            let at = steps.iter().position(follows).unwrap_or(steps.len());
            let takes = vec![(place, Take::Constant(constant))];
            steps.insert(at, Step { shape: Shape::Nothing, takes });
        }
        let in_order = steps.iter().flat_map(|step| &step.takes).map(|(place, _)| place).is_sorted();
        Ok(Self { steps, outputs: outputs.len(), in_order })
    }

    /// Reads a record and appends its outputs to `row`, in their order. After an error `row` holds a part of them.
    ///
    /// # Errors
    /// The bytes don't follow the schema, or a value does not fit: the place of the output, and why.
    pub fn write(&self, datum: &mut Datum<'_>, row: &mut Vec<u8>) -> Result<(), (usize, C::Fault)> {
        if self.in_order {
            return self.walk(datum, row, |_, _| {});
        }
        let start = row.len();
        let mut ends = vec![(start, start); self.outputs];
        let mut end = start;
        self.walk(datum, row, |place, length| {
            ends[place] = (end, length);
            end = length;
        })?;
        for (from, to) in ends {
            row.extend_from_within(from..to);
        }
        row.drain(start..end);
        Ok(())
    }

    /// Tells `written` the place of each output, and where it ends.
    fn walk(
        &self,
        datum: &mut Datum<'_>,
        row: &mut Vec<u8>,
        mut written: impl FnMut(usize, usize),
    ) -> Result<(), (usize, C::Fault)> {
        for step in &self.steps {
            let Some(((place, take), others)) = step.takes.split_last() else {
                step.shape.skip(datum).map_err(|fault| (0, fault.into()))?;
                continue;
            };
            for (place, take) in others {
                take.write(&mut datum.clone(), row).map_err(|fault| (*place, fault))?;
                written(*place, row.len());
            }
            take.write(datum, row).map_err(|fault| (*place, fault))?;
            written(*place, row.len());
        }
        Ok(())
    }

    /// Passes over a record.
    ///
    /// # Errors
    /// The bytes don't follow the schema.
    pub fn skip(&self, datum: &mut Datum<'_>) -> Result<(), Malformed> {
        self.steps.iter().try_for_each(|step| step.shape.skip(datum))
    }
}

/// Appends the steps through a record of `writer`, and finds what is written of fields that it has not.
fn compile<C: Convert>(
    writer: Scoped<'_>,
    reader: Scoped<'_>,
    mut outputs: Vec<(usize, Output<'_, C::Form<'_>>)>,
    steps: &mut Vec<Step<C>>,
    constants: &mut Vec<(usize, Vec<u8>)>,
) -> Result<(), Unfit> {
    let (Schema::Record(written), Schema::Record(wanted)) = (writer.schema, reader.schema) else {
        return Err(outputs.first().map_or(Unfit::Schema, |(place, _)| Unfit::Output(*place)));
    };
    for field in &written.fields {
        let from = writer.part(&field.schema).ok_or(Unfit::Schema)?;
        let mut here: Vec<_> = outputs.extract_if(.., |(_, output)| output.path[0] == field.name).collect();
        if here.is_empty() || here.iter().any(|(_, output)| output.path.len() == 1) {
            let shape = Shape::new(from).ok_or(Unfit::Schema)?;
            let take = |(place, output): (usize, Output<'_, C::Form<'_>>)| {
                let take = part(wanted, reader, &field.name)
                    .and_then(|to| take(from, to, &output.path[1..], &output.form));
                Ok((place, take.ok_or(Unfit::Output(place))?))
            };
            let takes = here.into_iter().map(take).collect::<Result<_, _>>()?;
            steps.push(Step { shape, takes });
        } else {
            // A record is its fields: the way leads through them.
            let to = part(wanted, reader, &field.name).ok_or(Unfit::Output(here[0].0))?;
            for (_, output) in &mut here {
                output.path.remove(0);
            }
            compile(from, to, here, steps, constants)?;
        }
    }
    for (place, output) in outputs {
        constants.push((place, default::<C>(wanted, reader, &output).ok_or(Unfit::Output(place))?));
    }
    Ok(())
}

fn part<'a>(record: &'a RecordSchema, scoped: Scoped<'a>, name: &str) -> Option<Scoped<'a>> {
    scoped.part(&record.fields[*record.lookup.get(name)?].schema)
}

/// From a value to what lies in it at `path`.
fn take<C: Convert>(
    writer: Scoped<'_>,
    reader: Scoped<'_>,
    path: &[&str],
    form: &C::Form<'_>,
) -> Option<Take<C>> {
    if path.is_empty() {
        return C::new(writer, reader, form).map(Take::Value);
    }
    let output = Output { path: path.to_vec(), form: form.clone() };
    Program::new(writer, reader, &[output]).ok().map(Take::Inside)
}

/// What is written where the writer knew no such field.
fn default<C: Convert>(
    record: &RecordSchema,
    reader: Scoped<'_>,
    output: &Output<'_, C::Form<'_>>,
) -> Option<Vec<u8>> {
    let field = &record.fields[*record.lookup.get(output.path[0])?];
    let scoped = reader.part(&field.schema)?;
    let value = Value::try_from(field.default.clone()?).ok()?;
    let value = value.resolve_with_names(&field.schema, reader.names).ok()?;
    let writer =
        GenericDatumWriter::builder(&field.schema).schemata(vec![reader.whole]).ok()?.build().ok()?;
    let datum = writer.write_value_to_vec(value).ok()?;
    let mut bytes = Vec::new();
    take::<C>(scoped, scoped, &output.path[1..], &output.form)?
        .write(&mut Datum::new(&datum), &mut bytes)
        .ok()?;
    Some(bytes)
}
