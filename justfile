# The recipes of the project; each is a line that calls cargo or the binary. `just` lists them.

default:
    @just --list

# Play what the families show through the whole path, on a stack of its own. One alone: just demo -- --family civic
demo *arguments:
    cargo demo {{arguments}}

# Kafka and ClickHouse without Docker, until Ctrl-C.
local *arguments:
    cargo local {{arguments}}

# Say what this machine lacks.
doctor:
    cargo doctor

# All tests, on a stack of their own.
test *arguments:
    cargo test {{arguments}}

# A thousand kills of workers, each inside an open transaction that holds outputs.
chaos:
    CHAOS_KILLS=1000 cargo test --test it -- chaos --nocapture

# Ten minutes of requests made of the API's own document, good and bad.
schemathesis:
    SCHEMATHESIS='--max-examples=1000 --max-time=600 --continue-on-failure' cargo test --test it -- openapi::what_the_document --nocapture

# A thousand kills of sinks, at each step of a batch and at random moments.
chaos-sink:
    SINK_KILLS=1000 cargo test --test it -- i6_killed_sinks_leave_every_view --nocapture

# Bring up to date the pages that are made of the code and of a database's description.
docs:
    cargo run --quiet --bin tidewatch -- settings reference > docs/settings.md.new && mv docs/settings.md.new docs/settings.md
    cargo run --quiet --bin tidewatch -- topology --format json > docs/architecture_flow.json.new && mv docs/architecture_flow.json.new docs/architecture_flow.json
    cargo run --quiet --bin tidewatch -- topology --format yaml > docs/architecture_flow.yaml.new && mv docs/architecture_flow.yaml.new docs/architecture_flow.yaml
    RENEW_DOCS=1 cargo test --test it -- the_data_dictionary_is_current

# What CI runs.
ci:
    .ci/run

# Format, lint, document.
check:
    cargo fmt --all
    rustfmt --edition 2024 src/families/*/mod.rs
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# What a record costs, without Kafka; then on a real one, beside a loop that does the same by hand.
bench:
    cargo bench --bench fold
    cargo bench --bench end_to_end
    cargo bench --bench backtest
    cargo bench --bench interactions
    cargo bench --bench incidents
    cargo bench --bench sink
    cargo bench --bench serve

# The properties of the engine, each tried with many more cases.
nightly:
    PROPTEST_CASES=10000 cargo test --test engine
