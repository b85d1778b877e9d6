//! That `cargo test` compiles this crate is the test (I2).

#[test]
fn i2_events_engine_and_operators_compile_with_what_the_list_allows() {
    let _ = tidewatch_purity::engine::id::version(0, 0, 0);
}
