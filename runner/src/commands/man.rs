//! `kubectl kitbag man`: the manual, out of the definition of the command line.

use std::io::{self, Write as _};

use clap_mangen::Man;

use crate::cli;
use crate::error::Error;

/// Runs the command.
pub(crate) fn run() -> Result<u8, Error> {
    let mut page = Vec::new();
    write(&mut page).map_err(Error::Output)?;
    super::print(page)
}

/// One page: the program, then a section for each command.
fn write(page: &mut Vec<u8>) -> io::Result<()> {
    let definition = cli::definition();
    let whole = Man::new(definition.clone().disable_help_subcommand(true)).title("KUBECTL-KITBAG");
    whole.render_title(page)?;
    whole.render_name_section(page)?;
    whole.render_description_section(page)?;
    for command in definition.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        let name = command.get_name().to_owned();
        let part = Man::new(command.clone().disable_help_flag(true).bin_name(format!("kubectl kitbag {name}")));
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        let mut sections = Vec::new();
        part.render_synopsis_section(&mut sections)?;
        part.render_description_section(&mut sections)?;
        part.render_options_section(&mut sections)?;
        part.render_extra_section(&mut sections)?;
        // What would be sections of a page of its own are parts of this section.
        page.extend(String::from_utf8_lossy(&sections).replace("\n.SH ", "\n.SS ").into_bytes());
    }
    whole.render_extra_section(page)
}
