//! The module graph of the workspace: which file uses items of which other file.
//!
//! Paths are resolved as the compiler does it, as far as that needs no types: `crate`, `self`, `super`, imported names,
//! child modules and re-exports. A re-export is followed to the file that defines the item; it makes no dependency by
//! itself, so a `mod.rs` that only declares and re-exports its children depends on nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::Source;

/// Segments of an absolute module path; the first one is the crate.
type Path = Vec<String>;

/// The crates, their root files and the name under which others use them.
const CRATES: [(&str, &str); 2] = [("ruwsgi", "src"), ("_ruwsgi", "python/src")];

/// Limit of re-exports followed from one path.
const MAX_REEXPORTS: usize = 8;

/// A module with a separate file.
#[derive(Default)]
struct Module {
    file: String,
    /// Names in scope of the module, and their targets.
    imports: HashMap<String, Path>,
    /// Names visible to other modules, and their targets.
    reexports: HashMap<String, Path>,
    /// Paths used in the code.
    used: BTreeSet<Path>,
}

/// The dependencies between the files of the workspace.
pub struct Graph {
    /// A file, and the files whose items it uses.
    pub uses: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads the dependencies of all sources.
    pub fn of(sources: &[Source]) -> Self {
        let mut modules: HashMap<Path, Module> = HashMap::new();
        for source in sources {
            let Some(path) = module_path(&source.path) else {
                continue;
            };
            let mut collector = Collector {
                module: Module {
                    file: source.path.clone(),
                    ..Module::default()
                },
            };
            collector.visit_file(&source.syntax());
            modules.insert(path, collector.module);
        }
        let mut uses = BTreeMap::new();
        for (path, module) in &modules {
            let targets = module
                .used
                .iter()
                .chain(private_imports(module))
                .filter_map(|used| target(&modules, path, used))
                .filter(|file| *file != module.file);
            uses.insert(module.file.clone(), targets.collect());
        }
        Self { uses }
    }

    /// Groups of files that form an import cycle.
    pub fn cycles(&self) -> Vec<Vec<&str>> {
        let reached: HashMap<&str, BTreeSet<&str>> = self
            .uses
            .keys()
            .map(|file| (file.as_str(), self.reachable(file)))
            .collect();
        let mut groups: BTreeSet<Vec<&str>> = BTreeSet::new();
        for (file, targets) in &reached {
            let group: Vec<&str> = targets
                .iter()
                .filter(|other| reached.get(**other).is_some_and(|back| back.contains(file)))
                .copied()
                .collect();
            if !group.is_empty() {
                groups.insert(group);
            }
        }
        groups.into_iter().collect()
    }

    fn reachable(&self, from: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            for next in self.uses.get(file).into_iter().flatten() {
                if reached.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        reached
    }
}

fn private_imports(module: &Module) -> impl Iterator<Item = &Path> {
    let reexports = &module.reexports;
    module
        .imports
        .iter()
        .filter(|(name, _)| !reexports.contains_key(*name))
        .map(|(_, path)| path)
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are `ruwsgi::a::b`.
fn module_path(file: &str) -> Option<Path> {
    let (name, root) = CRATES
        .iter()
        .find(|(_, root)| file.starts_with(&format!("{root}/")))?;
    let inner = file
        .strip_prefix(&format!("{root}/"))?
        .strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    let segments = inner
        .split('/')
        .filter(|it| !["lib", "main", "mod"].contains(it));
    Some(
        [*name]
            .into_iter()
            .chain(segments)
            .map(str::to_owned)
            .collect(),
    )
}

/// The file that defines what a path of `module` names.
fn target(modules: &HashMap<Path, Module>, module: &[String], used: &[String]) -> Option<String> {
    let mut path = absolute(modules, module, used)?;
    for _ in 0..MAX_REEXPORTS {
        let known = (1..=path.len())
            .rev()
            .find(|length| modules.contains_key(&path[..*length]))?;
        let found = &modules[&path[..known]];
        let Some(name) = path.get(known) else {
            return Some(found.file.clone());
        };
        let Some(exported) = found.reexports.get(name) else {
            return Some(found.file.clone());
        };
        let exported = absolute(modules, &path[..known], exported)?;
        path = exported
            .into_iter()
            .chain(path[known + 1..].iter().cloned())
            .collect();
    }
    None
}

/// A path without `crate`, `self`, `super` and imported names; `None` outside the workspace.
fn absolute(modules: &HashMap<Path, Module>, module: &[String], used: &[String]) -> Option<Path> {
    let mut base = module.to_vec();
    let mut rest = used;
    match rest.first()?.as_str() {
        "crate" => {
            base.truncate(1);
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|segment| segment == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        name if CRATES.iter().any(|(known, _)| *known == name) => {
            base = vec![name.to_owned()];
            rest = &rest[1..];
        }
        name => {
            let imported = modules.get(module).and_then(|it| it.imports.get(name));
            if let Some(imported) = imported.filter(|path| path[0] != name) {
                let whole: Path = imported.iter().chain(&rest[1..]).cloned().collect();
                return absolute(modules, module, &whole);
            }
            base.push(name.to_owned());
            if !modules.contains_key(&base) {
                return None;
            }
            rest = &rest[1..];
        }
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// Collects the imports and paths of one file.
struct Collector {
    module: Module,
}

impl Collector {
    fn import(&mut self, tree: &syn::UseTree, prefix: &mut Path, exported: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix, exported);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, prefix, exported);
                }
            }
            syn::UseTree::Name(name) => self.bind(&name.ident.to_string(), None, prefix, exported),
            syn::UseTree::Rename(name) => {
                let new = name.rename.to_string();
                self.bind(&name.ident.to_string(), Some(new), prefix, exported);
            }
            syn::UseTree::Glob(_) => {
                self.module.used.insert(prefix.clone());
            }
        }
    }

    fn bind(&mut self, name: &str, rename: Option<String>, prefix: &[String], exported: bool) {
        let mut path = prefix.to_vec();
        let mut bound = rename.unwrap_or_else(|| name.to_owned());
        if name == "self" {
            bound = prefix.last().cloned().unwrap_or_default();
        } else {
            path.push(name.to_owned());
        }
        if exported {
            self.module.reexports.insert(bound.clone(), path.clone());
        }
        self.module.imports.insert(bound, path);
    }

    /// The paths in the tokens of a macro.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(ident) => {
                    self.keep(std::mem::take(&mut path));
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                _ => {}
            }
            self.keep(std::mem::take(&mut path));
            colons = 0;
        }
        self.keep(path);
    }

    fn keep(&mut self, path: Path) {
        if path.len() > 1 {
            self.module.used.insert(path);
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|flag| flag == "test")
    })
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            let exported = !matches!(item.vis, syn::Visibility::Inherited);
            self.import(&item.tree, &mut Vec::new(), exported);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.keep(
            path.segments
                .iter()
                .map(|it| it.ident.to_string())
                .collect(),
        );
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.scan(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}
