//! `tidewatch topology`: what the system is made of — roles, topics, jobs, rows, tables, routes — from the registry and the
//! declarations themselves, so that it can't be out of date.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;
use utoipa::openapi::OpenApi;

use crate::engine::rows::{DeadLetter, DerivedRow};
use crate::families::{self, Family, JobDescription, Visitor};
use crate::ingest::intake;
use crate::log::topics;
use crate::log::topics::Owner;
use crate::resource::{self, ResourceError};
use crate::{read, runtime};

/// What `tidewatch topology` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// The form of the description
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

/// The form of the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As JSON
    Json,
    /// The same as YAML
    Yaml,
    /// A flow chart of roles, topics, jobs and tables: <https://mermaid.js.org>
    Mermaid,
}

/// Why it can't be described.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// What is declared of resources is not sound.
    #[error(transparent)]
    Resource(#[from] &'static ResourceError),
    /// It has no JSON.
    #[error("the topology can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It has no YAML.
    #[error("the topology can't be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// What the system is made of.
#[derive(Debug, Serialize)]
pub struct Topology {
    roles: Vec<RoleNode>,
    families: Vec<FamilyNode>,
    jobs: Vec<JobNode>,
    topics: Vec<TopicNode>,
    tables: Vec<TableNode>,
    routes: Vec<RouteNode>,
}

/// A role of the binary: the topics that it reads and writes.
#[derive(Debug, Serialize)]
struct RoleNode {
    name: &'static str,
    about: &'static str,
    reads: Vec<String>,
    writes: Vec<String>,
}

/// A family of events.
#[derive(Debug, Serialize)]
struct FamilyNode {
    name: &'static str,
    about: &'static str,
    topic: &'static str,
    intake: String,
    jobs: Vec<&'static str>,
}

/// A job: an operator over an input topic.
#[derive(Debug, Serialize)]
struct JobNode {
    name: &'static str,
    operator_version: i32,
    input: &'static str,
    outputs: &'static [&'static str],
    group: String,
    changelog: String,
}

/// A topic of the log.
#[derive(Debug, Serialize)]
struct TopicNode {
    name: &'static str,
    owner: Owner,
    key: &'static str,
    partitions: i32,
    schema: Option<&'static str>,
    table: Option<&'static str>,
    resource: Option<String>,
}

/// A table of ClickHouse: the projection of a topic.
#[derive(Debug, Serialize)]
struct TableNode {
    name: &'static str,
    topic: &'static str,
}

/// A route of the HTTP API.
#[derive(Debug, Serialize)]
struct RouteNode {
    method: &'static str,
    path: String,
    operation: Option<String>,
}

/// A family, and the description of its routes.
struct Describe;

impl Visitor for Describe {
    type Output = (FamilyNode, [OpenApi; 2]);

    fn family<F: Family>(self) -> Self::Output {
        let jobs = families::jobs().into_iter().filter(|job| job.input == F::NAME).map(|job| job.name);
        let intake = intake::topic(F::NAME);
        let node =
            FamilyNode { name: F::NAME, about: F::ABOUT, topic: F::NAME, intake, jobs: jobs.collect() };
        (node, [F::routes().into_openapi(), F::queries().into_openapi()])
    }
}

impl Topology {
    /// Of this program.
    ///
    /// # Errors
    /// What is declared of resources is not sound.
    pub fn new() -> Result<Self, TopologyError> {
        let resources = resource::all()?;
        let (families, documents): (Vec<_>, Vec<_>) = families::each(|| Describe).into_iter().unzip();
        let documents = documents.into_iter().flatten();
        let documents =
            documents.chain([read::router(resources).into_openapi(), super::router().into_openapi()]);
        let jobs: Vec<_> = families::jobs().into_iter().map(JobNode::from).collect();
        Ok(Self {
            roles: roles(&families, &jobs),
            families,
            jobs,
            topics: topics::all().iter().map(TopicNode::from).collect(),
            tables: tables().collect(),
            routes: documents.flat_map(routes).collect(),
        })
    }

    /// In that form.
    ///
    /// # Errors
    /// It can't be written down: a fault of the program.
    pub fn render(&self, format: Format) -> Result<String, TopologyError> {
        Ok(match format {
            Format::Json => serde_json::to_string_pretty(self)? + "\n",
            Format::Yaml => serde_saphyr::to_string(self)?,
            Format::Mermaid => self.mermaid(),
        })
    }

    fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        let mut line = |from: &str, to: &str| {
            // Writing to a string never fails.
            let _ = writeln!(text, "    {} --> {}", node(from), node(to));
        };
        for family in &self.families {
            line("producers over HTTP", "ingest");
            line("producers over Kafka", &family.intake);
            line(&family.intake, "ingest");
            line("ingest", family.topic);
        }
        for job in &self.jobs {
            let name = format!("job {}", job.name);
            line(job.input, &name);
            job.outputs.iter().for_each(|output| line(&name, output));
        }
        for table in &self.tables {
            line(table.topic, &format!("table {}", table.name));
        }
        for topic in self.topics.iter().filter(|topic| topic.resource.is_some()) {
            line(&format!("table {}", topic.table.unwrap_or_default()), "serve");
        }
        let mut lines: Vec<&str> = text.lines().collect();
        let mut seen = std::collections::HashSet::new();
        lines.retain(|line| seen.insert(*line));
        lines.join("\n") + "\n"
    }
}

/// A node of a flow chart, named and labelled by a text.
fn node(text: &str) -> String {
    let name: String =
        text.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
    format!("{name}[\"{text}\"]")
}

impl From<JobDescription> for JobNode {
    fn from(job: JobDescription) -> Self {
        let JobDescription { name, version, input, outputs } = job;
        let (group, changelog) = (runtime::group(name), runtime::changelog(name));
        Self { name, operator_version: version, input, outputs, group, changelog }
    }
}

impl From<&'static topics::Topic> for TopicNode {
    fn from(topic: &'static topics::Topic) -> Self {
        Self {
            name: &topic.name,
            owner: topic.owner,
            key: &topic.key,
            partitions: topic.partitions,
            schema: topic.schema.as_deref(),
            table: topic.table.as_deref(),
            resource: topic.resource.as_ref().map(|resource| format!("/v1/{}", resource.path)),
        }
    }
}

fn tables() -> impl Iterator<Item = TableNode> {
    topics::all()
        .iter()
        .filter_map(|topic| Some(TableNode { name: topic.table.as_ref()?, topic: &topic.name }))
}

fn roles(families: &[FamilyNode], jobs: &[JobNode]) -> Vec<RoleNode> {
    let owned = |owner: Owner| {
        let owned = topics::all().iter().filter(move |topic| topic.owner == owner);
        owned.map(|topic| topic.name.clone()).collect::<Vec<_>>()
    };
    let stored: Vec<String> = tables().map(|table| table.topic.to_owned()).collect();
    let settings = || "settings".to_owned();
    let inputs = jobs.iter().map(|job| job.input.to_owned()).chain([settings()]);
    let followed = topics::all().iter().filter(|topic| topic.resource.is_some());
    let followed =
        followed.map(|topic| topic.name.clone()).chain(["progress".to_owned(), settings()]).collect();
    let node = |name, about, reads, writes| RoleNode { name, about, reads, writes };
    vec![
        node(
            "ingest",
            "HTTP in, and what Kafka clients write: validates, sanitises, appends to the family topics",
            families.iter().map(|family| family.intake.clone()).collect(),
            [owned(Owner::Ingest), vec![DeadLetter::TOPIC.to_owned()]].concat(),
        ),
        node(
            "process",
            "Folds family topics into derived topics, exactly once: a worker a job",
            inputs.collect::<std::collections::BTreeSet<_>>().into_iter().collect(),
            owned(Owner::Process),
        ),
        node("sink", "Writes derived topics to ClickHouse", stored, vec![DeadLetter::TOPIC.to_owned()]),
        node("serve", "HTTP out: the read API, live streams, the page, settings", followed, vec![settings()]),
    ]
}

/// The routes that a document describes.
fn routes(document: OpenApi) -> Vec<RouteNode> {
    let mut routes = Vec::new();
    for (path, item) in document.paths.paths {
        let methods = BTreeMap::from([
            ("GET", item.get),
            ("POST", item.post),
            ("PUT", item.put),
            ("DELETE", item.delete),
        ]);
        for (method, operation) in methods {
            let Some(operation) = operation else { continue };
            routes.push(RouteNode { method, path: path.clone(), operation: operation.operation_id });
        }
    }
    routes
}

/// Prints it.
///
/// # Errors
/// It can't be written down.
pub fn run(options: &Options) -> Result<(), TopologyError> {
    print!("{}", Topology::new()?.render(options.format)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/architecture_flow.json` and `.yaml` are its output: `tidewatch topology --format json > …` brings them up to date.
    #[test]
    fn the_docs_are_current() {
        for (file, format) in [("json", Format::Json), ("yaml", Format::Yaml)] {
            let path = format!("{}/docs/architecture_flow.{file}", env!("CARGO_MANIFEST_DIR"));
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            let expected = Topology::new().unwrap().render(format).unwrap();
            assert!(found == expected, "{path} is not what `tidewatch topology --format {file}` prints");
        }
    }

    #[test]
    fn every_topic_of_a_job_is_there() {
        let topology = Topology::new().unwrap();
        let known: Vec<&str> = topology.topics.iter().map(|topic| topic.name).collect();
        for job in &topology.jobs {
            let named = [job.input, &job.changelog].into_iter().chain(job.outputs.iter().copied());
            named.for_each(|topic| assert!(known.contains(&topic), "{topic}, of the job {}", job.name));
        }
        for family in &topology.families {
            assert!(
                known.contains(&family.topic) && known.contains(&family.intake.as_str()),
                "{}",
                family.name
            );
            assert!(!family.jobs.is_empty(), "{}", family.name);
        }
        let chart = topology.render(Format::Mermaid).unwrap();
        assert!(chart.contains("    civic[\"civic\"] --> job_sla[\"job sla\"]\n"), "{chart}");
    }

    #[test]
    fn routes_have_names_of_their_own() {
        let mut names: Vec<_> =
            Topology::new().unwrap().routes.into_iter().map(|route| route.operation.unwrap()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
