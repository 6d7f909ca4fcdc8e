//! The made-up stores of the benchmarks and of the torture: as many tools as are wanted, with layers of exactly the sizes
//! that are wanted.

use std::path::Path;

use kitbag_tests::synthetic;
use kitbag_toolsets::GenerationId;

use crate::Result;

pub(crate) use kitbag_tests::synthetic::Tool;

/// A tool with layers of so many bytes. Its rank goes by the number in its name, if there is one.
pub(crate) fn tool(name: &str, version: &str, bytes: usize) -> Tool {
    let number: u32 = name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default();
    let rank = if name == "base" { 0 } else { 100 + number };
    Tool { name: name.to_owned(), version: version.to_owned(), rank, bytes }
}

/// A base layer and `count` small tools with the names of [`name`].
pub(crate) fn many(count: usize) -> Vec<Tool> {
    let tools = (0..count).map(|number| tool(&name(number), "1.0", 1 << 10));
    [tool("base", "1.0", 64 << 10)].into_iter().chain(tools).collect()
}

/// The name of a tool among [`many`].
pub(crate) fn name(number: usize) -> String {
    format!("tool{number:04}")
}

/// Puts the tools into the store at `dir`, and makes a generation of it.
pub(crate) fn commit(dir: &Path, tools: &[Tool]) -> Result<GenerationId> {
    Ok(synthetic::commit(dir, tools, synthetic::opaque_layer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_stand_in_the_order_of_their_numbers() {
        let ranks: Vec<u32> = many(3).iter().map(|tool| tool.rank).collect();
        assert_eq!(ranks, [0, 100, 101, 102]);
        assert_eq!(tool("big", "1.0", 1).rank, 100);
    }
}
