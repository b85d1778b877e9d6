use super::*;

fn migration(number: u32, name: &'static str, checksum: &str) -> Migration {
    Migration { number, name, checksum: checksum.into(), statements: vec![] }
}

#[test]
fn every_migration_loads() {
    assert!(MIGRATIONS.len() >= 3);
    for migration in MIGRATIONS.iter() {
        assert!(!migration.statements.is_empty(), "{}", migration.name);
        for statement in &migration.statements {
            let repeatable = [
                "IF NOT EXISTS",
                "IF EXISTS",
                "CREATE OR REPLACE",
                "MODIFY TTL",
                "MODIFY SETTING",
                "MODIFY COMMENT",
            ];
            assert!(repeatable.iter().any(|words| statement.contains(words)), "{statement}");
        }
    }
}

/// What is recorded where these were applied.
const CHECKSUMS: [(u32, &str); 14] = [
    (1, "d8d6fa41578243ea4498991542f6850344bdd9a103b5ef18f0b35cbdd0a8f8b9"),
    (2, "7b27016ec9193f48f51c9d0232be355f8d923590fd0d807cc9ed66da21614cb6"),
    (3, "34450c01b5bc2994b2c5299b2b3a3bd58e771c5898f87390d4b8311c8be14245"),
    (4, "5274ea58891b1794ed1b93b41738dee9eef7f7c9af9d22341f1a0fb460201415"),
    (5, "fca410752c1e59cc6d2a31daf98ef95eb48ecaeb762d9a131b499081765878e4"),
    (6, "a178a29479ad12ca4009a9c2f61a950afcdba9fcfde400459922e8f4f6c10b44"),
    (7, "674ee2d93d358db58e6098e7a75968cefad02c32a8d251be81db4e5cee05c272"),
    (8, "95d289e8d07a8bbf5d600ba7e18939105c6e5a339132de5986c93ab77b1bb873"),
    (9, "f3ad4e79cc77c6b4937a12ae7f98ba1ddc07369ade33a0a77d2e713b8528e1a5"),
    (10, "ed88821584b9955c3ab0fbcbb15248c16ab4e2098c53cb207ec3c6a1731b49e0"),
    (11, "4ef9ffad66416d72d858db4b828c73b723c5db846dcb2ee112b3b6772e339d8f"),
    (12, "9875157df661d827366ec60468dde745d913b4c244739f708e36caca8cd292ab"),
    (13, "6c04cd8b49150e161e598a7917e4bf6154e26b6b3d235dbd7ac9dbd67f89a435"),
    (14, "6135cb466b861afeba74e39626fa1e4ab7d5ae91632ab28e76fdde41a2dc223f"),
];

#[test]
fn no_file_has_changed() {
    let pinned = BTreeMap::from(CHECKSUMS);
    for migration in MIGRATIONS.iter() {
        let found = pinned.get(&migration.number).copied();
        let name = migration.name;
        assert_eq!(found, Some(migration.checksum.as_str()), "{name}; a new file is added to CHECKSUMS");
    }
    assert_eq!(pinned.len(), MIGRATIONS.len());
    assert!(expanded("-- include nothing\n").unwrap_err().contains("include/nothing.sql"));
}

/// I1: of an id, the newest version is what holds; so every table of rows is one that keeps it, with a view of what holds.
#[test]
fn i1_every_topics_table_is_made() {
    let statements: Vec<&str> =
        MIGRATIONS.iter().flat_map(|migration| &migration.statements).map(String::as_str).collect();
    let made = |start: String| {
        let is_so = |statement: &&&str| statement.trim_start().starts_with(&start);
        statements.iter().find(is_so).unwrap_or_else(|| panic!("no file of schemas/clickhouse says {start}…"))
    };
    for topic in crate::log::topics::all() {
        let Some(table) = &topic.table else { continue };
        let statement = made(format!("CREATE TABLE IF NOT EXISTS {table}\n"));
        if topic.resource.is_some() {
            assert!(statement.contains("ENGINE = ReplacingMergeTree(version, retracted)"), "{table}");
            made(format!("CREATE OR REPLACE VIEW {table}_current AS"));
        }
    }
}

#[test]
fn statements_are_split_at_lines() {
    let text = "-- a; comment;\nSELECT ';' AS a,\n  -- inside;\n  2;\n\n-- x\nSELECT 3;  \nSELECT 4\n--\n";
    assert_eq!(statements(text), ["SELECT ';' AS a,\n  2", "\nSELECT 3", "SELECT 4\n"]);
}

#[test]
fn only_what_is_new_is_pending() {
    let files = [migration(1, "0001_a.sql", "a"), migration(2, "0002_b.sql", "b")];
    let pending = |applied: &[(u32, &str)]| {
        let applied = applied.iter().map(|(number, sum)| (*number, sum.to_string())).collect();
        pending(&files, &applied, "d").map(|found| found.iter().map(|m| m.number).collect::<Vec<_>>())
    };
    assert_eq!(pending(&[]).unwrap(), [1, 2]);
    assert_eq!(pending(&[(1, "a")]).unwrap(), [2]);
    assert!(pending(&[(1, "a"), (2, "b"), (3, "newer")]).unwrap().is_empty());
    assert!(matches!(pending(&[(1, "x")]), Err(MigrateError::Changed { file: "0001_a.sql", .. })));
    assert!(matches!(
        pending(&[(2, "b")]),
        Err(MigrateError::OutOfOrder { file: "0001_a.sql", newest: 2, .. })
    ));
}
