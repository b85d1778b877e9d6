//! The windows of the model: lists of members, searched from end to end (I9).

use super::{Input, Kind, Member, Model, Output};

impl Model {
    pub(super) fn bounds(&self, name: i64, members: &[Member]) -> (i64, i64) {
        match self.settings.kind {
            Kind::Fixed { size, .. } => (name, name + size),
            _ => {
                let times = || members.iter().map(|member| member.time);
                (times().min().unwrap_or(0), times().max().unwrap_or(0))
            }
        }
    }

    fn member(&self, input: &Input) -> Member {
        Member { time: input.time, arrival: self.arrivals, value: input.value }
    }

    pub(super) fn add_to_fixed(
        &mut self,
        place: usize,
        input: &Input,
        size: i64,
        advance: i64,
        grace: i64,
    ) -> bool {
        let mut is_late = true;
        let member = self.member(input);
        let around = input.time.div_euclid(advance);
        for number in around - size / advance - 1..=around + 1 {
            let start = number * advance;
            let due = start + size - 1 + grace;
            if !(start <= input.time && input.time < start + size) || self.is_closed(place, due) {
                continue;
            }
            is_late = false;
            if !self.keys[place].windows.iter().any(|(name, _)| *name == start) {
                self.keys[place].windows.push((start, Vec::new()));
                self.set_timer(place, start, due, 0, 0);
            }
            for (name, members) in &mut self.keys[place].windows {
                if *name == start {
                    members.push(member);
                    let (count, sum) = total(members);
                    let (key, end) = (input.key.to_owned(), start + size);
                    self.outputs.push(Output::Update { key, start, end, count, sum });
                }
            }
        }
        !is_late
    }

    /// A session is what records that are held form when they are sorted and parted where more than a gap lies between;
    /// its name is the arrival of the first.
    pub(super) fn add_to_session(&mut self, place: usize, input: &Input, gap: i64, grace: i64) -> bool {
        let before = self.keys[place].windows.clone();
        let mut members: Vec<Member> = before.iter().flat_map(|(_, members)| members.clone()).collect();
        members.push(self.member(input));
        members.sort_by_key(|member| (member.time, member.arrival));
        let mut after: Vec<(i64, Vec<Member>)> = Vec::new();
        for member in members {
            match after.last_mut() {
                Some((_, session)) if session.last().is_some_and(|last| member.time - last.time <= gap) => {
                    session.push(member);
                }
                _ => after.push((0, vec![member])),
            }
        }
        for (name, session) in &mut after {
            *name = session.iter().map(|member| member.arrival as i64).min().unwrap_or(0);
        }
        let arrival = self.arrivals;
        let holds = |session: &[Member]| session.iter().any(|member| member.arrival == arrival);
        let Some((name, session)) = after.iter().find(|(_, session)| holds(session)).cloned() else {
            return false;
        };
        let (start, end) = self.bounds(name, &session);
        let due = end + gap + grace;
        if session.len() == 1 && self.is_closed(place, due) {
            return false;
        }
        let key = || input.key.to_owned();
        for (other, members) in before.iter().filter(|(other, _)| after.iter().all(|(name, _)| name != other))
        {
            let ((start, end), (count, sum)) = (self.bounds(*other, members), total(members));
            self.outputs.push(Output::Retracted { key: key(), start, end, count, sum });
            self.keys[place].timers.retain(|timer| timer.name != *other);
        }
        let (count, sum) = total(&session);
        self.outputs.push(Output::Update { key: key(), start, end, count, sum });
        self.keys[place].windows = after;
        self.set_timer(place, name, due, 0, 0);
        true
    }
}

pub(super) fn total(members: &[Member]) -> (i64, i64) {
    (members.len() as i64, members.iter().map(|member| member.value).sum())
}
