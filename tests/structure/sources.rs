//! Which file uses which: the modules of a crate as `syn` reads them, and the paths in them resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, Macro, Meta, UseTree};

/// How deep a chain of re-exports is followed.
const DEPTH: usize = 16;

/// One file uses names of another.
#[derive(Debug)]
pub struct Tie {
    /// The file that uses them, below the folder of the sources.
    pub from: String,
    /// The file that defines them.
    pub to: String,
    /// The names.
    pub names: BTreeSet<String>,
}

impl Display for Tie {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        write!(formatter, "{} -> {}: {}", self.from, self.to, names.join(", "))
    }
}

/// The modules of a crate, by their paths from its root.
#[derive(Default)]
pub struct Sources {
    modules: BTreeMap<Vec<String>, Module>,
}

/// What a module declares, and the paths that its code names. What is compiled for tests alone is left out.
#[derive(Default)]
struct Module {
    file: String,
    /// The names of its items.
    items: BTreeSet<String>,
    /// The names that `use` brings into it, and the paths behind them.
    bindings: BTreeMap<String, Vec<String>>,
    /// The modules of which `use` brings every name.
    globs: Vec<Vec<String>>,
    paths: BTreeSet<Vec<String>>,
    /// The modules that stand in its file.
    inline: Vec<ItemMod>,
    /// The names of the modules that only tests compile.
    tests: Vec<String>,
}

/// What a path leads to.
enum Found {
    Module(Vec<String>),
    Item { file: String, name: String },
}

impl Sources {
    /// Reads files, each by its path below the folder of the sources and with its text. Where a file lies says which module
    /// it is, so that also a module that a macro declares is known.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources = Self::default();
        for (file, text) in files {
            let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
            sources.read_module(file, module_of(file), &parsed.items);
        }
        let tests = |(at, module): (&Vec<String>, &Module)| {
            let path = |name: &String| [at.as_slice(), std::slice::from_ref(name)].concat();
            module.tests.iter().map(path).collect::<Vec<_>>()
        };
        let tests: Vec<_> = sources.modules.iter().flat_map(tests).collect();
        sources.modules.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
        sources
    }

    fn read_module(&mut self, file: &str, path: Vec<String>, items: &[Item]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        items.iter().for_each(|item| module.visit_item(item));
        for inner in std::mem::take(&mut module.inline) {
            let path = [path.as_slice(), &[inner.ident.to_string()]].concat();
            self.read_module(file, path, &inner.content.unwrap_or_default().1);
        }
        self.modules.insert(path, module);
    }

    /// Which file uses which. A module is not tied to those above and below it: they are one thing, told in parts.
    pub fn ties(&self) -> Vec<Tie> {
        let mut names: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
        for (at, module) in &self.modules {
            for path in &module.paths {
                if let Some(Found::Item { file, name }) = self.resolve(at, path, 0)
                    && !is_family(&module.file, &file)
                {
                    names.entry((&module.file, file)).or_default().insert(name);
                }
            }
        }
        let tie = |((from, to), names): ((&str, String), _)| Tie { from: from.to_owned(), to, names };
        names.into_iter().map(tie).collect()
    }

    /// Where a path leads that is named in a module.
    fn resolve(&self, at: &[String], path: &[String], depth: usize) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        let mut found = match first.as_str() {
            "crate" | "tidewatch" => Found::Module(Vec::new()),
            "self" => Found::Module(at.to_vec()),
            "super" => Found::Module(at.split_last()?.1.to_vec()),
            name => self.find(at, name, !rest.is_empty(), depth)?,
        };
        for (index, name) in rest.iter().enumerate() {
            let Found::Module(at) = &found else { break };
            found = match name.as_str() {
                "super" => Found::Module(at.split_last()?.1.to_vec()),
                // What isn't there is what a macro makes.
                _ => self.find(at, name, index + 1 < rest.len(), depth).unwrap_or_else(|| Found::Item {
                    file: self.modules[at].file.clone(),
                    name: name.clone(),
                }),
            };
        }
        Some(found)
    }

    /// What a name means in a module, which may also be one that it re-exports.
    fn find(&self, at: &[String], name: &str, is_module: bool, depth: usize) -> Option<Found> {
        let module = self.modules.get(at).filter(|_| depth < DEPTH)?;
        let child = || {
            let path = [at, &[name.to_owned()]].concat();
            self.modules.contains_key(&path).then_some(Found::Module(path))
        };
        let item = || {
            let item = || Found::Item { file: module.file.clone(), name: name.to_owned() };
            module.items.contains(name).then(item)
        };
        let bound = || self.resolve(at, module.bindings.get(name).filter(|path| path[0] != name)?, depth + 1);
        let every = || {
            module.globs.iter().find_map(|path| match self.resolve(at, path, depth + 1)? {
                Found::Module(other) if other != at => self.find(&other, name, is_module, depth + 1),
                _ => None,
            })
        };
        if is_module {
            child().or_else(bound).or_else(item).or_else(every)
        } else {
            item().or_else(bound).or_else(child).or_else(every)
        }
    }
}

/// The path of the module that a file is; the binary's root counts as a module of the library.
fn module_of(file: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
    stem.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}

/// Whether two files are one, or one is a module above the other.
fn is_family(one: &str, other: &str) -> bool {
    let (one, other) = (module_of(one), module_of(other));
    one.starts_with(&other) || other.starts_with(&one)
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    let is_test = |list: &syn::MetaList| list.path.is_ident("cfg") && list.tokens.to_string() == "test";
    attributes.iter().any(|attribute| matches!(&attribute.meta, Meta::List(list) if is_test(list)))
}

impl Module {
    fn take_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &dyn ToString| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.take_use(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.take_use(tree, before)),
            UseTree::Glob(_) => self.globs.push(before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => self.bind(before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => self.bind(Some(name.ident.to_string()), with(&name.ident)),
            UseTree::Rename(rename) => self.bind(Some(rename.rename.to_string()), with(&rename.ident)),
        }
    }

    fn bind(&mut self, name: Option<String>, path: Vec<String>) {
        self.paths.insert(path.clone());
        self.bindings.extend(name.map(|name| (name, path)));
    }

    /// The paths in the tokens of a macro or an attribute.
    fn take_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.paths.insert(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                other => {
                    self.paths.insert(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.take_tokens(group.stream());
                    }
                }
            }
        }
        self.paths.insert(path);
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        let (name, attributes) = match item {
            Item::Const(item) => (Some(&item.ident), &item.attrs),
            Item::Enum(item) => (Some(&item.ident), &item.attrs),
            Item::Fn(item) => (Some(&item.sig.ident), &item.attrs),
            Item::Impl(item) => (None, &item.attrs),
            Item::Macro(item) => (item.ident.as_ref(), &item.attrs),
            Item::Mod(item) => (None, &item.attrs),
            Item::Static(item) => (Some(&item.ident), &item.attrs),
            Item::Struct(item) => (Some(&item.ident), &item.attrs),
            Item::Trait(item) => (Some(&item.ident), &item.attrs),
            Item::Type(item) => (Some(&item.ident), &item.attrs),
            Item::Use(item) => (None, &item.attrs),
            _ => panic!("an item of a kind that this check does not know in {}", self.file),
        };
        if is_for_tests(attributes) {
            if let Item::Mod(module) = item {
                self.tests.push(module.ident.to_string());
            }
            return;
        }
        self.items.extend(name.map(ToString::to_string));
        match item {
            Item::Use(item) => self.take_use(&item.tree, &[]),
            Item::Mod(item) if item.content.is_some() => self.inline.push(item.clone()),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, made: &'ast Macro) {
        self.take_tokens(made.tokens.clone());
        visit::visit_macro(self, made);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.take_tokens(list.tokens.clone());
        }
    }
}
