//! The sizes of functions: lines from the signature to the closing brace, and parameters without `self`.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::Source;

/// The largest sizes allowed.
#[derive(Clone, Copy)]
pub struct Limits {
    pub lines: usize,
    pub parameters: usize,
}

/// The functions of a file that exceed the limits.
pub fn offences(source: &Source, limits: Limits) -> Vec<String> {
    let mut sizes = Sizes {
        path: &source.path,
        limits,
        found: Vec::new(),
    };
    sizes.visit_file(&source.syntax());
    sizes.found
}

struct Sizes<'a> {
    path: &'a str,
    limits: Limits,
    found: Vec<String>,
}

impl Sizes<'_> {
    fn check(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let lines = block.span().end().line + 1 - first;
        let parameters = signature
            .inputs
            .iter()
            .filter(|input| matches!(input, syn::FnArg::Typed(_)))
            .count();
        let place = format!("{}:{first}: {}", self.path, signature.ident);
        if lines > self.limits.lines && !is_table(block) {
            self.found.push(format!("{place} has {lines} lines"));
        }
        if parameters > self.limits.parameters {
            let message = format!("{place} has {parameters} parameters");
            self.found.push(message);
        }
    }
}

/// Whether a function is nothing but one `match` whose arms have one line each.
fn is_table(block: &syn::Block) -> bool {
    let [syn::Stmt::Expr(syn::Expr::Match(table), None)] = block.stmts.as_slice() else {
        return false;
    };
    table
        .arms
        .iter()
        .all(|arm| arm.span().start().line == arm.span().end().line)
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|it| it.path().is_ident("cfg"))
}

impl<'ast> Visit<'ast> for Sizes<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}
