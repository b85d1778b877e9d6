//! The README and `docs/` do not lie: links lead somewhere, options exist, and commands that can be pasted are pasted.
//!
//! Blocks marked `sh`, of the pages [`PASTED`], are run as they stand, in their order. Other blocks show output, or commands that do not end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use crate::system::{BINARY, KEY, Process, System, eventually};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The pages whose blocks are run. (`docs/adding-a-family.md` changes the sources: `tests/toy` does what it says.)
const PASTED: [&str; 4] = ["README.md", "docs/sending.md", "docs/reading.md", "docs/rules.md"];

/// A fenced block of a page.
struct Block {
    /// What its fence says.
    language: String,
    text: String,
}

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// README.md, CONTRIBUTING.md and what is in docs/.
fn pages() -> Vec<String> {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs =
        docs.map(|name| format!("docs/{}", name.to_str().unwrap())).filter(|name| name.ends_with(".md"));
    let mut pages: Vec<String> =
        ["README.md", "CONTRIBUTING.md"].map(str::to_owned).into_iter().chain(docs).collect();
    pages.sort();
    pages
}

/// The blocks of a page, and what is outside of them.
fn parse(page: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::<Block>::new(), String::new());
    let mut is_inside = false;
    for line in read(page).lines() {
        match line.trim_start().strip_prefix("```") {
            Some(language) if !is_inside => {
                blocks.push(Block { language: language.trim().to_owned(), text: String::new() });
                is_inside = true;
            }
            Some(_) => is_inside = false,
            None if is_inside => blocks.last_mut().unwrap().text += &format!("{line}\n"),
            None => prose += &format!("{line}\n"),
        }
    }
    assert!(!is_inside, "{page}: a fence is not closed");
    (blocks, prose)
}

/// The targets of the links in a text: `](target)`.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = parse(page).1;
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|char| char.is_alphanumeric() || "-_ ".contains(*char));
        let anchor: String = kept.map(|char| if char == ' ' { '-' } else { char }).collect();
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
    };
    headings.map(anchor).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let root = Path::new(ROOT).canonicalize().unwrap();
    let mut dead = Vec::new();
    let mut count = 0;
    for page in pages() {
        let (_, prose) = parse(&page);
        for link in links(&prose).filter(|link| !link.contains("://")) {
            count += 1;
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let folder = Path::new(ROOT).join(&page);
            let target = if file.is_empty() { folder } else { folder.parent().unwrap().join(file) };
            let target = target.canonicalize().ok().filter(|target| target.starts_with(&root));
            let is_found = target.is_some_and(|target| {
                let page = target.strip_prefix(&root).unwrap().to_str().unwrap();
                anchor.is_none_or(|anchor| anchors(page).contains(anchor))
            });
            if !is_found {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere: {dead:#?}");
    assert!(count > 50, "{count}");
}

/// Every option that a page names of a command is one.
#[test]
fn commands_and_their_options_exist() {
    let help = |words: &[&str]| {
        let output = Command::new(BINARY).args(words).arg("--help").output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let is_name = |word: &&&str| {
        word.chars().all(|char| char.is_ascii_lowercase() || char == '-') && !word.starts_with('-')
    };
    let mut count = 0;
    for page in pages() {
        let (blocks, prose) = parse(&page);
        let inline = prose.split('`').skip(1).step_by(2);
        for line in blocks.iter().flat_map(|block| block.text.lines()).chain(inline) {
            let line = line.trim_start().trim_start_matches("$ ");
            let line = line.split(" # ").next().unwrap_or_default();
            let Some(rest) = line.strip_prefix("tidewatch ").or_else(|| line.strip_prefix("cargo ")) else {
                continue;
            };
            let words: Vec<&str> =
                rest.split_whitespace().take_while(|word| !["|", ">", "&&"].contains(word)).collect();
            let own = ["demo", "local", "doctor"];
            if line.starts_with("cargo ") && !words.first().is_some_and(|word| own.contains(word)) {
                continue;
            }
            let names: Vec<&str> = words.iter().take_while(is_name).take(2).copied().collect();
            let text =
                help(&names).or_else(|| help(names.get(..1)?)).unwrap_or_else(|| panic!("{page}: {line}"));
            for option in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                let option = option.split('=').next().unwrap_or_default();
                let is_option = text
                    .split(|char: char| char.is_whitespace() || ",=[]".contains(char))
                    .any(|word| word == option);
                assert!(is_option, "{page}: {line}\n{option} is no option:\n{text}");
                count += 1;
            }
        }
    }
    assert!(count > 20, "{count}");
}

/// Where blocks are pasted: a folder of its own, with the repository's `tests` in it and `tidewatch` on PATH.
struct Shell {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
    replacements: Vec<(&'static str, String)>,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        symlink(Path::new(ROOT).join("tests"), folder.path().join("tests")).unwrap();
        // An answer that is an error, and one that does not come, end the script.
        let settings = "fail-with-body\nsilent\nshow-error\nmax-time = 60\n";
        fs::write(folder.path().join(".curlrc"), settings).unwrap();
        let binaries = Path::new(BINARY).parent().unwrap().to_path_buf();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(binaries).chain(std::env::split_paths(&path)).collect::<Vec<PathBuf>>();
        let path = std::env::join_paths(path).unwrap().into_string().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        Self { folder, environment: vec![("PATH", path), ("CURL_HOME", home)], replacements: Vec::new() }
    }

    /// In a running system: its addresses stand where a page has those of the demo.
    fn of(system: &System, all: &Process) -> Self {
        let mut shell = Self::new();
        let at = all.url.trim_start_matches("http://").to_owned();
        let config = &system.config;
        let store = format!("{}/?database={}", config.clickhouse.url, config.clickhouse.database);
        shell.replacements = vec![
            ("localhost:8080", at),
            ("localhost:8123/?database=tidewatch", store),
            ("demo-key", KEY.to_owned()),
        ];
        let set = [
            ("kafka.brokers", &config.kafka.brokers),
            ("kafka.prefix", &config.kafka.prefix),
            ("clickhouse.url", &config.clickhouse.url),
            ("clickhouse.database", &config.clickhouse.database),
        ];
        shell.environment.push(("AT", set.map(|(name, value)| format!("--set {name}={value}")).join(" ")));
        shell
    }

    /// Pastes a block; what it printed.
    fn paste(&self, page: &str, block: &Block) -> String {
        let script =
            self.replacements.iter().fold(block.text.clone(), |text, (from, to)| text.replace(from, to));
        let mut command = Command::new("sh");
        command.args(["-ec", &script]).current_dir(self.folder.path()).envs(self.environment.iter().cloned());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{page}:\n{}\n{status}\n{stdout}\n{stderr}", block.text);
        stdout.into_owned()
    }
}

/// The blocks of a page that can be pasted.
fn scripts(page: &str) -> Vec<Block> {
    parse(page).0.into_iter().filter(|block| block.language == "sh").collect()
}

fn needs_a_server(block: &Block) -> bool {
    block.text.contains("curl ") || block.text.contains("$AT")
}

/// What needs no server.
#[test]
fn commands_over_files_can_be_pasted() {
    let shell = Shell::new();
    let mut printed = BTreeMap::new();
    for page in PASTED {
        for block in scripts(page).iter().filter(|block| !needs_a_server(block)) {
            *printed.entry(page).or_insert_with(String::new) += &shell.paste(page, block);
        }
    }
    // Each row as it is emitted, then what holds at the end.
    assert_eq!(printed["README.md"].lines().count(), 5 + 2, "{printed:?}");
    let rules = &printed["docs/rules.md"];
    let rage =
        rules.lines().find(|line| line.starts_with("rage_click ")).unwrap_or_else(|| panic!("{rules}"));
    let shown = read("docs/rules.md");
    let shown = shown.lines().find(|line| line.starts_with("rage_click  ")).unwrap();
    assert_eq!(rage.split_whitespace().collect::<Vec<_>>(), shown.split_whitespace().collect::<Vec<_>>());
}

/// What is sent to and asked of a system at work: every command succeeds, in the order of the pages, and what is sent is
/// found again. The sample key may do what its commands do, and a first breach is told within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn commands_to_a_running_system_can_be_pasted() {
    let system = System::new(&read("docker/tidewatch.toml")).await;
    let all = system.start_ready("all", &[]).await;
    system.settings_in_force().await;
    let shell = Shell::of(&system, &all);
    let paste = |page: &str| {
        let blocks = scripts(page);
        // What a block needs may have been written by one before it.
        tokio::task::block_in_place(|| blocks.iter().for_each(|block| drop(shell.paste(page, block))));
        blocks.len()
    };
    let (first, others) = PASTED.split_first().unwrap();
    let mut count = paste(first);
    let sent = Instant::now();
    let breach = eventually("the breach of the sample key", async || {
        let (status, page) = all.get("change-me", "/v1/incidents?rule=sla_breach").await;
        assert_eq!(status, 200, "{page}");
        page["incidents"].as_array().unwrap().first().cloned()
    });
    let breach = breach.await;
    println!("a first breach {:?} after the commands of the README", sent.elapsed());
    assert_eq!(breach["title"], "Overdue: Broken bench", "{breach}");

    count += others.iter().map(|page| paste(page)).sum::<usize>();
    assert!(count >= 9, "{count} blocks");

    // The report of the README, which its second command closes in time.
    system.caught_up().await;
    let metrics =
        system.query("SELECT area, met FROM sla_metrics_current WHERE tenant = 'boston' FORMAT TSV").await;
    assert_eq!(metrics.trim(), "Roslindale\ttrue");
    let (_, settings) = all.get(KEY, "/v1/settings/interactions").await;
    assert_eq!(settings["settings"]["rules"]["rage_click"]["count"]["at_least"], 4, "{settings}");
    assert!(all.terminate().await.success());
}

/// The table of filters in `docs/reading.md` names what the topics declare.
#[test]
fn every_filter_is_told_of() {
    let page = read("docs/reading.md");
    for resource in tidewatch::resource::all().unwrap() {
        let begin = format!("| `{}` |", resource.path());
        let line = page.lines().find(|line| line.starts_with(&begin));
        let line = line.unwrap_or_else(|| panic!("docs/reading.md has no line {begin}"));
        for filter in &resource.declaration.filters {
            let name = filter.name.replace('*', "NAME");
            assert!(line.contains(&format!("`{name}`")), "docs/reading.md, {begin}: {name} is missing");
        }
    }
}
