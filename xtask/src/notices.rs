//! The licences of what is built into the binary, in full: whoever ships it has to pass them on. Taken from the very sources that were compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo;
use crate::roster::text_of;

/// How deep below a crate texts are looked for: what it has taken from elsewhere lies in folders of it.
const FOLDERS_DEEP: usize = 5;

/// What stands before the texts.
const HEAD: &str = "The binary 'roster' has these libraries built in. Each text is followed by the next after a line of equal signs; before it stands whose it is.\n\
    SQLite, in libsqlite3-sys, is in the public domain.\n";

/// A crate in the binary.
struct Crate {
    /// With its version.
    name: String,
    /// As its author has put it.
    licence: String,
    folder: PathBuf,
}

/// All texts, each once.
pub(crate) fn text() -> Result<String, String> {
    let mut whose: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut head, mut without) = (HEAD.to_owned(), Vec::new());
    let crates = crates()?;
    for Crate { name, licence, folder } in &crates {
        head.push_str(&format!("\n{name}: {licence}"));
        let found = texts(folder, FOLDERS_DEEP).map_err(|fault| format!("{}: {fault}", folder.display()))?;
        if found.is_empty() {
            without.push(format!("{name} ({licence})"));
        }
        for text in found {
            whose.entry(text).or_default().insert(name.clone());
        }
    }
    head.push_str(&format!(
        "\n\nWithout a text of their own, so under the one of that name below: {}\n",
        without.join(", ")
    ));
    let line = format!("\n{}\n", "=".repeat(80));
    let notices = whose.into_iter().map(|(text, whose)| {
        let whose: Vec<String> = whose.into_iter().collect();
        format!("{}\n\n{text}\n", whose.join(", "))
    });
    Ok([head].into_iter().chain(notices).collect::<Vec<_>>().join(&line))
}

/// Of the binary, by its normal dependencies, with macros: what these write is built in, too.
fn crates() -> Result<Vec<Crate>, String> {
    let sources = sources()?;
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--offline", "--package", "roster", "--edges", "normal", "--prefix", "none"]);
    let told = text_of(tree.args(["--no-dedupe", "--format", "{p}\t{l}"]))?;
    let lines: BTreeSet<&str> = told.lines().collect();
    let mut crates = Vec::new();
    for line in lines {
        let (name, licence) = line.split_once('\t').ok_or_else(|| format!("cargo tree says '{line}'"))?;
        let mut words = name.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let name = format!("{name}-{}", version.trim_start_matches('v'));
        if let Some(folder) = sources.get(&name) {
            crates.push(Crate { name, licence: licence.to_owned(), folder: folder.clone() });
        } else if !name.starts_with("roster-") {
            return Err(format!("the sources of {name} are not there"));
        }
    }
    Ok(crates)
}

/// Where the sources of each crate from a registry are.
fn sources() -> Result<BTreeMap<String, PathBuf>, String> {
    let told = text_of(cargo().args(["metadata", "--locked", "--offline", "--format-version", "1"]))?;
    let manifests = told.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let folders = manifests.filter_map(|manifest| Path::new(manifest).parent().map(Path::to_owned));
    let name = |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(folders
        .filter(|folder| folder.components().any(|part| part.as_os_str() == "registry"))
        .filter_map(|folder| Some((name(&folder)?, folder)))
        .collect())
}

/// The texts in a folder and those below, without blanks at the ends of lines: so the same ones are the same.
fn texts(folder: &Path, deep: usize) -> std::io::Result<Vec<String>> {
    let (mut found, mut copying, mut folders) = (Vec::new(), Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        } else if ["license", "licence", "notice", "unlicense", "copyright"].iter().any(|start| name.starts_with(start))
            && !name.ends_with(".rs")
        {
            found.push(entry.path());
        } else if name.starts_with("copying") {
            copying.push(entry.path());
        }
    }
    // Beside a licence it is another one to choose (Zstandard's is the GPL), or says where the licence is.
    let files = if found.is_empty() { copying } else { found };
    let read = |file: PathBuf| {
        let bytes = fs::read(file)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned())
    };
    let mut texts = files.into_iter().map(read).collect::<std::io::Result<Vec<_>>>()?;
    if deep > 0 {
        for folder in folders {
            texts.extend(self::texts(&folder, deep - 1)?);
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_of_the_binary_has_its_text() {
        let text = text().expect("the sources are there");
        let parts: Vec<&str> = text.split(&"=".repeat(80)).collect();
        let tells = |name: &str, words: &str| {
            parts[1..].iter().any(|part| {
                part.trim_start().lines().next().is_some_and(|whose| whose.contains(name)) && part.contains(words)
            })
        };
        assert!(tells("tokio-1.", "Tokio Contributors"), "a library in Rust");
        assert!(
            tells("zstd-sys-", "Meta Platforms") && tells("libmimalloc-sys-", "Daan Leijen"),
            "what is built in from C"
        );
        assert!(tells("ring-", "OpenSSL") || tells("ring-", "BoringSSL"), "what that was made of");
        assert!(!text.contains("GNU GENERAL PUBLIC LICENSE"), "nothing that was not chosen");
        let without = text.lines().find(|line| line.starts_with("Without a text")).expect("a line");
        assert!(without.matches('(').count() < 6, "{without}");
        assert!(without.split('(').skip(1).all(|licence| licence.contains("Apache-2.0")), "{without}");
        assert!(tells("axum-0.", "Permission is hereby granted") && text.contains("Apache License"), "whole texts");
    }
}
