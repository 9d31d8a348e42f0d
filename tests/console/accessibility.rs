//! What axe-core says of a page, in the browser that shows it.

use std::path::Path;

use serde_json::{Value, json};

use crate::browser::Browser;

/// WCAG 2.2 AA, with all that it is built on, and what axe calls good practice.
const TAGS: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const RUN: &str = "
    const done = arguments[arguments.length - 1];
    const options = { runOnly: { type: 'tag', values: arguments[0] }, resultTypes: ['violations'] };
    axe.run(document, options).then((found) => done(found.violations), (fault) => done(String(fault)));
";

impl Browser {
    /// Every violation on the page as it is now: rule, impact, help, and each node's HTML with what is wrong with it.
    pub(crate) fn violations(&self) -> Vec<String> {
        // The checker waits for timers of its own; what the page's scripts have not done when it was loaded they do not do now.
        self.with_scripts(|| {
            if self.script("return typeof axe === 'undefined'", &[]) == true {
                self.script(&checker(), &[]);
            }
            let found = self.slow_script(RUN, &[json!(TAGS)]);
            let found = found.as_array().unwrap_or_else(|| panic!("axe did not run: {found}"));
            found.iter().map(told).collect()
        })
    }

    pub(crate) fn assert_accessible(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{}: axe finds\n{}", self.address(), violations.join("\n"));
    }
}

fn checker() -> String {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe-core.min.js");
    std::fs::read_to_string(place)
        .unwrap_or_else(|fault| panic!("axe-core is needed (cargo xtask test gets it): {fault}"))
}

fn told(violation: &Value) -> String {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let mut told = format!("{} ({}): {}", text(violation, "id"), text(violation, "impact"), text(violation, "help"));
    for node in violation["nodes"].as_array().into_iter().flatten() {
        let why = text(node, "failureSummary").replace('\n', " ");
        told.push_str(&format!("\n    {}\n        {why}", text(node, "html")));
    }
    told
}
