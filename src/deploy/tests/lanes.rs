use super::*;

/// Collects whole events.
#[derive(Default)]
struct Events(Vec<Event>);

impl Reporter for Events {
    fn report(&mut self, event: &Event) {
        self.0.push(event.clone());
    }
}

/// Returns the lane that an event's own content belongs to, if that is unambiguous.
fn lane_by_content(plan: &Plan, kind: &EventKind) -> Option<usize> {
    if let EventKind::SlowStartAwaited { .. } = kind {
        // Its servers are those that take over.
        return None;
    }
    let json = serde_json::to_value(kind).unwrap();
    plan.lanes.iter().position(|lane| {
        let name = lane.replacement.as_ref().map(|it| it.name.as_str());
        json["servers"] == serde_json::to_value(lane.ids()).unwrap()
            || json["container"].is_string() && json["container"].as_str() == name
    })
}

#[tokio::test(start_paused = true)]
async fn events_of_lanes_side_by_side_name_their_lane() {
    let mut stage = Stage::of(World::origin()).await;
    stage.plan.waves = vec![2, 2];
    let mut heard = Events::default();
    let [asked, now] = stage.memory.site().stops.clone();
    let stop = StopRequest { asked, now };
    let run = Executor::new(&stage.plan, &stage.world, &mut stage.journal, stop, &mut heard).unwrap();
    assert!(matches!(run.run().await.unwrap(), Outcome::Deployed { .. }));
    let mut compared = 0;
    for event in &heard.0 {
        if let Some(lane) = lane_by_content(&stage.plan, &event.kind) {
            assert_eq!(event.lane, Some(LaneId::at(lane)), "{event:?}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared} events");
    let EventKind::RunStarted { waves, .. } = &heard.0[0].kind else { panic!("{:?}", heard.0[0]) };
    assert_eq!(waves.iter().flatten().map(|lane| lane.index()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    // The second lane starts before the first one is finished.
    let started =
        |it: &Event| it.lane == Some(LaneId::at(1)) && matches!(it.kind, EventKind::LaneStarted { .. });
    let finished =
        |it: &Event| it.lane == Some(LaneId::at(0)) && matches!(it.kind, EventKind::LaneFinished { .. });
    assert!(heard.0.iter().position(started) < heard.0.iter().position(finished));
}
