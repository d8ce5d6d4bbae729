//! Two ends of a channel, and somebody in between.

use proptest::prelude::*;

use super::*;

fn key(byte: u8) -> Key {
    Key::parse(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn pair() -> (Channel, Channel) {
    let (initiator, first) = Initiator::begin(&key(7), "edge1").unwrap();
    let (responder, answer) = respond(&key(7), "edge2", &first).unwrap();
    (initiator.finish(&answer).unwrap(), responder)
}

/// A message as frames.
fn seal(sealer: &mut Sealer, lane: Lane, message: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<&[u8]> = message.chunks(PART).collect();
    let last = parts.pop().unwrap_or_default();
    let mut frames: Vec<_> =
        parts.into_iter().map(|part| sealer.seal(lane, part, false).unwrap()).collect();
    frames.push(sealer.seal(lane, last, true).unwrap());
    frames
}

#[test]
fn both_learn_the_name_of_the_other() {
    let (initiator, responder) = pair();
    assert_eq!((&*initiator.peer, &*responder.peer), ("edge2", "edge1"));
}

#[test]
fn another_key_is_noticed_by_the_first_message() {
    let (_, first) = Initiator::begin(&key(7), "edge1").unwrap();
    assert_eq!(respond(&key(8), "edge2", &first).err(), Some(ChannelError::Key));
}

#[test]
fn a_replayed_beginning_leads_to_no_frame() {
    let (initiator, first) = Initiator::begin(&key(7), "edge1").unwrap();
    let (_, answer) = respond(&key(7), "edge2", &first).unwrap();
    let mut heard = initiator.finish(&answer).unwrap();
    let recorded = heard.sealer.seal(Lane::Urgent, b"", true).unwrap();
    // The same two messages once more, to a responder that has made a new handshake of them.
    let (mut again, _) = respond(&key(7), "edge2", &first).unwrap();
    assert_eq!(again.opener.open(&recorded), Err(ChannelError::Forged));
}

#[test]
fn an_answer_of_another_handshake_is_refused() {
    let (initiator, _) = Initiator::begin(&key(7), "edge1").unwrap();
    let (_, other) = Initiator::begin(&key(7), "edge3").unwrap();
    let (_, answer) = respond(&key(7), "edge2", &other).unwrap();
    assert_eq!(initiator.finish(&answer).err(), Some(ChannelError::Key));
}

#[test]
fn a_name_that_could_spoil_a_log_is_refused() {
    for name in ["", "a b", "\u{1b}[2J", &"x".repeat(NAME_MAX + 1)] {
        let (_, first) = Initiator::begin(&key(7), name).unwrap();
        assert_eq!(respond(&key(7), "edge2", &first).err(), Some(ChannelError::Name), "{name:?}");
    }
}

#[test]
fn what_goes_one_way_is_nothing_on_the_way_back() {
    let (mut initiator, _) = pair();
    let sealed = initiator.sealer.seal(Lane::Urgent, b"hello", true).unwrap();
    assert_eq!(initiator.opener.open(&sealed), Err(ChannelError::Forged));
}

#[test]
fn a_message_grows_no_further_than_its_lane_allows() {
    let (mut initiator, mut responder) = pair();
    let part = vec![0; PART];
    let sealed = initiator.sealer.seal(Lane::Urgent, &part, false).unwrap();
    let error = ChannelError::TooLong(URGENT_MAX);
    assert_eq!(responder.opener.open(&sealed), Err(error));
    assert_eq!(
        initiator.sealer.seal(Lane::Bulk, &vec![0; PART + 1], true),
        Err(ChannelError::TooLong(PART))
    );
}

#[test]
fn urgent_passes_by_what_is_under_way() {
    let (mut initiator, mut responder) = pair();
    let first = initiator.sealer.seal(Lane::Bulk, b"much ", false).unwrap();
    let urgent = initiator.sealer.seal(Lane::Urgent, b"alive", true).unwrap();
    let second = initiator.sealer.seal(Lane::Bulk, b"more", true).unwrap();
    let opened: Vec<_> = [first, urgent, second]
        .iter()
        .filter_map(|frame| responder.opener.open(frame).unwrap())
        .collect();
    let wanted = [(Lane::Urgent, b"alive".to_vec()), (Lane::Bulk, b"much more".to_vec())];
    assert_eq!(opened, wanted);
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip(usize),
    Cut(usize),
    Drop,
    Double,
    Swap,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (0_usize..10_000).prop_map(Harm::Flip),
        (0_usize..10_000).prop_map(Harm::Cut),
        Just(Harm::Drop),
        Just(Harm::Double),
        Just(Harm::Swap),
    ]
}

fn do_harm(frames: &mut Vec<Vec<u8>>, at: usize, harm: Harm) {
    let at = at % (frames.len() - 1);
    let length = frames[at].len();
    match harm {
        Harm::Flip(bit) => frames[at][(bit / 8) % length] ^= 1 << (bit % 8),
        Harm::Cut(to) => frames[at].truncate(to % length),
        Harm::Drop => drop(frames.remove(at)),
        Harm::Double => frames.insert(at, frames[at].clone()),
        Harm::Swap => frames.swap(at, at + 1),
    }
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in(
        messages in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..2_000)), 1..6),
    ) {
        let (mut initiator, mut responder) = pair();
        for (bulk, message) in messages {
            let lane = if bulk { Lane::Bulk } else { Lane::Urgent };
            let frames = seal(&mut initiator.sealer, lane, &message);
            let opened: Vec<_> =
                frames.iter().filter_map(|frame| responder.opener.open(frame).unwrap()).collect();
            prop_assert_eq!(opened, vec![(lane, message)]);
        }
    }

    /// Whatever is done to frames on their way: no message comes out that did not go in, in its place.
    #[test]
    fn harm_on_the_way_is_noticed(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 2..8),
        at in any::<usize>(),
        harm in harm(),
    ) {
        let (mut initiator, mut responder) = pair();
        let mut frames: Vec<_> = messages
            .iter()
            .flat_map(|message| seal(&mut initiator.sealer, Lane::Bulk, message))
            .collect();
        do_harm(&mut frames, at, harm);
        let mut opened = Vec::new();
        let mut noticed = false;
        for frame in &frames {
            match responder.opener.open(frame) {
                Ok(message) => opened.extend(message.map(|(_, bytes)| bytes)),
                Err(_) => {
                    noticed = true;
                    break;
                }
            }
        }
        prop_assert!(noticed);
        prop_assert_eq!(opened.as_slice(), &messages[..opened.len()]);
    }

    #[test]
    fn garbage_is_an_error_and_never_more(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(respond(&key(7), "edge2", &bytes).is_err());
        let (initiator, _) = Initiator::begin(&key(7), "edge1").unwrap();
        prop_assert!(initiator.finish(&bytes).is_err());
        let (_, mut responder) = pair();
        prop_assert!(responder.opener.open(&bytes).is_err());
    }
}
