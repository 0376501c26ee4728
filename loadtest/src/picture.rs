//! A terminal's text as an SVG picture: the README's picture of the demo is made by the demo itself.

use std::fmt::Write as _;

const CHARACTER_WIDTH: usize = 8;
const LINE_HEIGHT: usize = 18;
const MARGIN: usize = 16;

/// Draws the lines on a dark ground, under a prompt that shows the command.
#[must_use]
pub fn terminal(command: &str, text: &str) -> String {
    let prompt = format!("$ {command}");
    let lines: Vec<&str> = std::iter::once(prompt.as_str()).chain(text.lines()).collect();
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).max(60);
    let width = columns * CHARACTER_WIDTH + 2 * MARGIN;
    let height = lines.len() * LINE_HEIGHT + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"13\" \
         fill=\"#d7dae0\" xml:space=\"preserve\">\n"
    );
    for (at, line) in lines.iter().enumerate() {
        let y = MARGIN + (at + 1) * LINE_HEIGHT - 5;
        let length = line.chars().count() * CHARACTER_WIDTH;
        let fill = colour(line);
        writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{y}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\"{fill}>{}</text>",
            escape(line)
        )
        .expect("a String takes all that is written");
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// The prompt is grey, the verdict green or red.
fn colour(line: &str) -> &'static str {
    let verdict = line.strip_prefix("identical ").and_then(|rest| rest.split_once(" of "));
    match verdict {
        Some((identical, all)) if identical == all => " fill=\"#7fd88f\"",
        Some(_) => " fill=\"#ff6b6b\"",
        None if line.starts_with("$ ") => " fill=\"#8a919e\"",
        None => "",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::terminal;

    #[test]
    fn text_is_escaped_and_the_verdict_has_its_colour() {
        let svg = terminal("cargo demo", "a < b\nidentical 3 of 3");
        assert!(svg.contains("a &lt; b"));
        assert!(svg.contains("#7fd88f"));
        assert!(terminal("cargo demo", "identical 2 of 3").contains("#ff6b6b"));
    }
}
