//! Every struct against the BTF that clang made of `c/layout.h`.

use libbpf_rs::{
    HasSize as _,
    btf::{
        Btf,
        types::{Composite, MemberAttr, Struct},
    },
};

use super::*;

const OBJECT: &str = concat!(env!("OUT_DIR"), "/nat.bpf.o");

fn btf() -> Btf<'static> {
    Btf::from_path(OBJECT).expect("the object has BTF")
}

/// Fields with their offsets in bytes, and the size, as C has them.
fn in_c(btf: &Btf<'static>, name: &str) -> (Vec<(String, usize)>, usize) {
    let of_c: Struct<'_> =
        btf.type_by_name(name).unwrap_or_else(|| panic!("no struct {name} in C"));
    let fields = Composite::from(of_c);
    let offsets = fields.iter().map(|member| {
        let MemberAttr::Normal { offset } = member.attr else { panic!("{name} has a bit field") };
        let field = member.name.expect("fields have names").to_string_lossy().into_owned();
        (field, usize::try_from(offset / 8).expect("small"))
    });
    (offsets.collect(), of_c.size())
}

fn assert_same(name: &str, fields: &[(&str, usize)], size: usize) {
    let (of_c, size_of_c) = in_c(&btf(), name);
    let of_rust: Vec<_> = fields.iter().map(|(field, at)| ((*field).to_owned(), *at)).collect();
    assert_eq!(of_rust, of_c, "struct {name}");
    assert_eq!(size, size_of_c, "size of struct {name}");
}

macro_rules! same {
    ($($c:literal => $rust:ident),* $(,)?) => {$(
        assert_same($c, $rust::FIELDS, size_of::<$rust>());
    )*};
}

#[test]
fn structs_are_what_c_says() {
    same! {
        "vip" => Vip,
        "frontend_key" => FrontendKey,
        "frontend" => Frontend,
        "backend" => Backend,
        "snat" => Snat,
        "maglev_table" => MaglevTable,
        "range_key" => RangeKey,
        "flow_key" => FlowKey,
        "flow" => Flow,
        "reply_key" => ReplyKey,
        "reply" => Reply,
        "answer_key" => AnswerKey,
        "answer" => Answer,
        "frontend_counters" => FrontendCounters,
        "backend_counters" => BackendCounters,
        "event" => Event,
        "leg" => Leg,
        "sweep" => Sweep,
        "clock" => Clock,
    }
}

#[test]
fn the_settings_are_what_c_says() {
    let settings = [
        ("seed", std::mem::offset_of!(Settings, seed)),
        ("hz", std::mem::offset_of!(Settings, hz)),
        ("ranges_generation", std::mem::offset_of!(Settings, ranges_generation)),
        ("snat_count", std::mem::offset_of!(Settings, snat_count)),
        ("half_open_budget", std::mem::offset_of!(Settings, half_open_budget)),
        ("timeouts", std::mem::offset_of!(Settings, timeouts)),
        ("legs", std::mem::offset_of!(Settings, legs)),
        ("classes", std::mem::offset_of!(Settings, classes)),
        ("netns_cookie", std::mem::offset_of!(Settings, netns_cookie)),
        ("frontends_generation", std::mem::offset_of!(Settings, frontends_generation)),
        ("pad", std::mem::offset_of!(Settings, pad)),
        ("lease", std::mem::offset_of!(Settings, lease)),
    ];
    assert_same("settings", &settings, size_of::<Settings>());
    let timeouts = [
        ("tcp_half_open", std::mem::offset_of!(Timeouts, tcp_half_open)),
        ("tcp_established", std::mem::offset_of!(Timeouts, tcp_established)),
        ("tcp_closing", std::mem::offset_of!(Timeouts, tcp_closing)),
        ("tcp_closed", std::mem::offset_of!(Timeouts, tcp_closed)),
        ("tcp_held", std::mem::offset_of!(Timeouts, tcp_held)),
        ("udp_unanswered", std::mem::offset_of!(Timeouts, udp_unanswered)),
        ("udp_answered", std::mem::offset_of!(Timeouts, udp_answered)),
        ("fragment", std::mem::offset_of!(Timeouts, fragment)),
    ];
    assert_same("timeouts", &timeouts, size_of::<Timeouts>());
}

#[test]
fn addresses_and_ports_survive_the_way_to_c_and_back() {
    for text in ["192.0.2.1", "2001:db8::1", "::", "0.0.0.0"] {
        let address: IpAddr = text.parse().expect("an address");
        assert_eq!(IpAddr::from(Address::from(address)), address);
    }
    assert_eq!(Port::from(0x1234).0.to_ne_bytes(), [0x12, 0x34]);
    assert_eq!(u16::from(Port::from(0x1234)), 0x1234);
}
