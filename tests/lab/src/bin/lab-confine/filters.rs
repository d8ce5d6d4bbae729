//! The system call filters that systemd makes of a unit (systemd.exec(5), src/shared/seccomp-util.c
//! says with which answers): what `SystemCallFilter=` leaves out ends the process.

use std::{collections::BTreeMap, env::consts::ARCH};

use anyhow::{Context, Result, bail, ensure};
use nix::libc;
use roadstead_lab::unit::{CallGroups, Unit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use syscalls::Sysno;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The programs, in the order of their installation.
pub(crate) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Builds them from a unit. Asks systemd-analyze, so it comes first of all.
    pub(crate) fn of(unit: &Unit) -> Result<Self> {
        ensure!(unit.last("Service", "SystemCallArchitectures") == Some("native"), "not native");
        let mut programs = Vec::new();
        if unit.has("Service", "RestrictAddressFamilies") {
            programs.push(denied(address_families(unit)?, libc::EAFNOSUPPORT)?);
        }
        if unit.on("Service", "MemoryDenyWriteExecute") {
            programs.push(denied(write_and_execute()?, libc::EPERM)?);
        }
        if unit.on("Service", "RestrictNamespaces") {
            programs.push(denied(namespaces()?, libc::EPERM)?);
            // Its flags lie in memory, where no filter looks: as if the kernel had no such call.
            programs.push(denied(always([Sysno::clone3]), libc::ENOSYS)?);
        }
        programs.push(allowed(unit)?);
        Ok(Self(programs))
    }

    /// Installs them. The one that allows the least is the last.
    pub(crate) fn install(&self) -> Result<()> {
        let installed = self.0.iter().try_for_each(|program| seccompiler::apply_filter(program));
        installed.context("cannot install a system call filter")
    }
}

/// Everything else ends the process. Names that this processor does not have are passed over, as
/// systemd does.
fn allowed(unit: &Unit) -> Result<BpfProgram> {
    let names = unit.allowed_calls(&CallGroups::of_systemd()?)?;
    let known = names.iter().filter_map(|name| name.parse::<Sysno>().ok());
    program(always(known), SeccompAction::KillProcess, SeccompAction::Allow)
}

fn denied(rules: Rules, errno: i32) -> Result<BpfProgram> {
    program(rules, SeccompAction::Allow, SeccompAction::Errno(errno.unsigned_abs()))
}

fn program(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram> {
    let target = TargetArch::try_from(ARCH)?;
    Ok(SeccompFilter::new(rules, others, these, target)?.try_into()?)
}

fn always(calls: impl IntoIterator<Item = Sysno>) -> Rules {
    calls.into_iter().map(|call| (i64::from(call.id()), Vec::new())).collect()
}

/// `socket` of a family that is not listed.
fn address_families(unit: &Unit) -> Result<Rules> {
    let mut others = Vec::new();
    for word in unit.words("Service", "RestrictAddressFamilies") {
        let family = match word {
            "AF_UNIX" => libc::AF_UNIX,
            "AF_INET" => libc::AF_INET,
            "AF_INET6" => libc::AF_INET6,
            "AF_NETLINK" => libc::AF_NETLINK,
            "AF_PACKET" => libc::AF_PACKET,
            _ => bail!("RestrictAddressFamilies=: `{word}` is not known here"),
        };
        others.push(argument(0, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()))?);
    }
    let rules = vec![SeccompRule::new(others)?];
    Ok(BTreeMap::from([(Sysno::socket.id().into(), rules)]))
}

/// Memory that is written and then executed.
fn write_and_execute() -> Result<Rules> {
    let (write, execute) = (bits(libc::PROT_WRITE), bits(libc::PROT_EXEC));
    let (both, shared) = (write | execute, bits(libc::SHM_EXEC));
    let rule = |index, mask| -> Result<Vec<SeccompRule>> {
        let set = argument(index, SeccompCmpOp::MaskedEq(mask), mask)?;
        Ok(vec![SeccompRule::new(vec![set])?])
    };
    Ok(BTreeMap::from([
        (Sysno::mmap.id().into(), rule(2, both)?),
        (Sysno::mprotect.id().into(), rule(2, execute)?),
        (Sysno::pkey_mprotect.id().into(), rule(2, execute)?),
        (Sysno::shmat.id().into(), rule(2, shared)?),
    ]))
}

/// New namespaces, and entering others.
fn namespaces() -> Result<Rules> {
    let kinds = [
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWUTS,
    ];
    let rules = kinds.into_iter().map(|kind| {
        let mask = bits(kind);
        Ok(SeccompRule::new(vec![argument(0, SeccompCmpOp::MaskedEq(mask), mask)?])?)
    });
    let rules = rules.collect::<Result<Vec<_>>>()?;
    let mut all = always([Sysno::setns]);
    all.insert(Sysno::clone.id().into(), rules.clone());
    all.insert(Sysno::unshare.id().into(), rules);
    Ok(all)
}

fn argument(index: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition> {
    Ok(SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value)?)
}

fn bits(flag: i32) -> u64 {
    u64::from(flag.cast_unsigned())
}
