//! StreamSeries: a series against its own start, over gRPC and without any model.

use futures::stream;
use inference::{Limits, Server, server::ai::AiService};
use proto::manpasik::v1::{
    self as wire, ai_inference_service_client::AiInferenceServiceClient,
    ai_inference_service_server::AiInferenceServiceServer, stream_series_request::Message as Asking,
    stream_series_response::Message as Telling,
};
use tonic::{Code, Status};

/// Beats of 40 points, one of them upside down.
fn beat(at: usize) -> f64 {
    let phase = (at % 40) as f64 / 40.0;
    let beat = (-(phase - 0.5).powi(2) / 0.01).exp() + 0.02 * (at as f64 * 1.7).sin();
    if (1000..1040).contains(&at) { -beat } else { beat }
}

fn start(ordinary: Vec<f64>, window: u32) -> Asking {
    Asking::Start(wire::SeriesStart { ordinary, window, label: "lead II".into() })
}

fn values(values: Vec<f64>) -> Asking {
    Asking::Values(wire::SeriesValues { values })
}

async fn ask(limits: Limits, messages: Vec<Asking>) -> (Vec<Telling>, Option<Status>) {
    let server = Server::serve(limits, Vec::new(), Vec::new(), Vec::new());
    let service = AiService::new(server.handle());
    let mut client = AiInferenceServiceClient::new(AiInferenceServiceServer::new(service));
    let requests = messages.into_iter().map(|message| wire::StreamSeriesRequest { message: Some(message) });
    let mut answers = match client.stream_series(stream::iter(requests.collect::<Vec<_>>())).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return (Vec::new(), Some(status)),
    };
    let mut told = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => told.extend(answer.message),
            Ok(None) => return (told, None),
            Err(status) => return (told, Some(status)),
        }
    }
}

#[tokio::test]
async fn a_strange_beat_is_told_where_it_is_with_its_parts() {
    let ordinary = (0..400).map(beat).collect();
    let packets = (400..1600).step_by(100).map(|from| values((from..from + 100).map(beat).collect()));
    let messages = std::iter::once(start(ordinary, 0)).chain(packets).collect();
    let (told, status) = ask(Limits::default(), messages).await;
    assert!(status.is_none(), "{status:?}");
    let [Telling::Started(started), scores @ .., Telling::Summary(summary)] = &told[..] else {
        panic!("begins with started and ends with a summary")
    };
    assert_eq!((started.window, started.false_alarm_rate), (40, 0.1));
    assert!(started.model.as_ref().is_some_and(|model| !model.version.is_empty()));
    let points: Vec<&wire::PointScore> = scores
        .iter()
        .flat_map(|answer| match answer {
            Telling::Scores(scores) => &scores.arrivals,
            Telling::Started(_) | Telling::Summary(_) => panic!("only scores between"),
        })
        .collect();
    assert!(points.iter().map(|point| point.index).eq(0..1200), "one score each, in order");
    let explained: Vec<_> =
        points.iter().filter_map(|point| Some((*point, point.explanation.as_ref()?))).collect();
    assert!(!explained.is_empty());
    for (point, explanation) in explained {
        let sum: f64 = explanation.contributions.iter().map(|part| part.contribution).sum();
        assert!(point.score > started.arrival_threshold && (sum - point.score.powi(2)).abs() < 1e-9);
    }
    assert_eq!((summary.points, summary.settled_points, summary.label.as_str()), (1200, 1161, "lead II"));
    let highest = summary.highest.as_ref().expect("settled");
    assert!((560..680).contains(&highest.index) && highest.score > started.settled_threshold, "{highest:?}");
}

#[tokio::test]
async fn what_is_no_series_is_refused_by_the_name_of_the_field() {
    let ordinary: Vec<f64> = (0..400).map(beat).collect();
    for (messages, answers, message) in [
        (vec![], 0, "start: must be the first"),
        (vec![values(vec![1.0])], 0, "start: must be the first"),
        (vec![start(vec![1.0; 100], 10)], 0, "start: "),
        (vec![start(ordinary.clone(), 7)], 0, "window: is 7"),
        (vec![start((0..100).map(f64::from).collect(), 0)], 0, "start: nothing repeats"),
        (vec![start(ordinary.clone(), 0), values(vec![0.1, f64::NAN])], 1, "values[1]: "),
        (vec![start(ordinary.clone(), 0), values(vec![0.0; 257])], 1, "values: has 257"),
        (vec![start(ordinary.clone(), 0), start(ordinary.clone(), 0)], 1, "values: is missing"),
    ] {
        let (told, status) = ask(Limits::default(), messages).await;
        let status = status.expect("refused");
        assert_eq!(told.len(), answers, "{message}");
        assert!(status.code() == Code::InvalidArgument && status.message().starts_with(message), "{status}");
    }
}

#[tokio::test]
async fn more_series_than_there_is_room_for_are_refused_for_now() {
    let limits = Limits { series_watched_max: 0, ..Limits::default() };
    let (_, status) = ask(limits, vec![]).await;
    assert_eq!(status.expect("refused").code(), Code::ResourceExhausted);
}
