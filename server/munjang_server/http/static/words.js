// The page's words in Korean and English, and its sample sentences.

const KO = {
  skip: "본문으로", tabs: "기능", token: "토큰", language: "English",
  dark: "어둡게", light: "밝게",
  similarity: "유사도", ranking: "순위", compare: "두 버전", tokens: "토큰", live: "서버",
  similarityTitle: "문장끼리 얼마나 가까운가", similarityHint: "한 줄에 한 문장씩 넣으면 모든 쌍의 유사도를 모델의 유사도 함수로 구합니다.",
  rankingTitle: "질문에 가까운 순서", rankingHint: "질문은 query, 목록은 document 역할로 읽습니다. 교차 인코더 버전을 고르면 재순위를 매깁니다.",
  compareTitle: "두 버전, 같은 입력", compareHint: "같은 질문과 목록을 두 버전에 보내고, 순서가 어떻게 달라지는지 봅니다.",
  tokensTitle: "모델이 읽는 조각", tokensHint: "stable 버전의 토크나이저가 문장을 나눈 결과입니다. 한계를 넘은 부분은 모델이 읽지 않습니다.",
  liveTitle: "지금 이 서버", liveHint: "2초마다 /metrics를 읽습니다. 이 탭이 보일 때만 읽습니다.",
  sentences: "문장", documents: "문서", question: "질문", onePerLine: "한 줄에 한 문장", questionHere: "무엇을 찾으시나요?",
  version: "버전", versionA: "버전 A", versionB: "버전 B", role: "역할", roleNone: "없음", roleQuery: "query (질문)", roleDocument: "document (문서)",
  compareThem: "유사도 보기", rankThem: "순위 보기", compareVersions: "비교하기", showTokens: "토큰 보기", sample: "예시 넣기",
  working: "계산하고 있습니다…", done: n => `${n}문장의 결과가 나왔습니다.`, lines: n => `${n}줄`,
  sameCall: "같은 호출", copy: "복사", copied: "복사했습니다", copyFailed: "복사하지 못했습니다",
  callToken: "토큰은 적지 않습니다. MUNJANG_TOKEN 환경 변수에 두고 쓰세요.",
  callPort: "gRPC 포트를 알 수 없어 50051로 적었습니다.", callRerank: "OpenAI 클라이언트에는 재순위가 없어 /v1/rerank를 직접 부릅니다.",
  callCosine: "OpenAI 쪽은 벡터를 받아 내적합니다. 정규화된 벡터라 코사인 유사도와 같습니다.", callStable: "토큰 조각은 HTTP의 /tokenize에만 있습니다. 나머지 호출은 토큰 수와 잘린 문장을 돌려줍니다.",
  tokenTitle: "이 서버의 토큰", tokenHint: "이 탭의 sessionStorage에만 두고, 탭을 닫으면 사라집니다. 이 서버 밖으로는 보내지 않습니다.", tokenKeep: "사용", tokenForget: "지우기",
  tokenSet: "토큰 있음",
  factVersion: "버전", factSpace: "공간", factTime: "왕복 시간", factTokens: "토큰", factCut: "잘림", factFunction: "유사도 함수", factA: "A", factB: "B",
  none: "없음", cutTexts: n => `${n}개`, cut: "잘림", readUpTo: n => `모델은 한 문장을 ${n}토큰까지 읽습니다.`,
  spaceTitle: "같은 공간의 벡터끼리만 비교할 수 있습니다",
  emptySimilarity: "문장을 두 줄 이상 넣으면 여기에 히트맵이 나타납니다.", emptyRanking: "질문과 문서를 넣으면 여기에 순위가 나타납니다.",
  emptyCompare: "질문과 문서를 넣고 두 버전을 고르면 여기에 비교가 나타납니다.", emptyTokens: "문장을 넣으면 여기에 토큰이 나타납니다.",
  needTwo: "비교하려면 문장이 두 줄 이상 있어야 합니다.", needQuestion: "질문을 적어 주세요.", needDocuments: "문서를 한 줄 이상 넣어 주세요.", needText: "문장을 한 줄 이상 넣어 주세요.",
  tooMany: n => `히트맵은 ${n}문장까지 그립니다. 더 많은 문장은 API로 비교하세요.`,
  noVersion: "이 서버에는 아직 쓸 수 있는 버전이 없습니다. 모델을 게시하고 별칭을 붙이면 바로 나타납니다.",
  heatmap: "유사도 히트맵", heatHint: "칸을 가리키거나 화살표 키로 움직이면 두 문장이 보입니다.", rangeFull: "전체 0–1", near: "가까움", far: "멂",
  pair: (a, b, s) => `${a}번과 ${b}번: ${s}`, same: "같은 문장",
  score: "점수", ranked: "순위 목록",
  swapped: (n, all) => n ? `${all}쌍 가운데 ${n}쌍의 순서가 바뀌었습니다.` : "순서가 그대로입니다.",
  firstSame: "1위는 같습니다.", firstOther: "1위가 다릅니다.",
  spacesDiffer: "두 버전의 공간이 달라 점수끼리는 비교할 수 없습니다. 순서만 보세요.", spacesSame: "두 답이 같은 공간에서 나왔습니다.",
  up: n => `${n}계단 오름`, down: n => `${n}계단 내림`, stays: "그대로", was: (a, b) => `A ${a}위, B ${b}위`, sameVersion: "A와 B에 다른 버전을 고르면 차이가 보입니다.",
  pieces: n => `${n}조각`, special: "특수 토큰", notRead: "읽지 않음",
  ready: "준비됨", notReady: "아직 준비되지 않음", away: "서버에 닿지 않음", locked: "토큰 필요",
  tokensPerSecond: "토큰/초", textsPerSecond: "문장/초", queue: "대기 중인 토큰", inFlight: "처리 중인 호출", measuredSpeed: n => `꽉 찬 배치 ${n} 토큰/초`, queuedTexts: n => `${n}문장`, lanes: (a, b) => `interactive ${a} · bulk ${b}`, answered: n => `지금까지 ${n}`,
  batches: "배치 크기", batchesHint: (n, mean) => `서버가 켜진 뒤 ${n}배치, 배치마다 평균 ${mean}문장`, noBatches: "아직 배치가 없습니다. 문장을 보내면 나타납니다.",
  aliases: "별칭", alias: "별칭", serves: "답하는 버전", previous: "이전 버전", noAliases: "별칭이 없습니다.",
  versions: "버전", state: "상태", model: "모델", dimensions: "차원", maxTokens: "최대 토큰", space: "공간", noVersions: "게시된 버전이 없습니다.",
  kindDense: "임베딩", kindCross: "교차 인코더", swapping: n => `${n} 준비 중`,
  states: { AVAILABLE: "사용 가능", PUBLISHED: "게시됨", LOADING: "불러오는 중", WARMING: "데우는 중", DRAINING: "비우는 중", FAILED: "실패" },
  ms: n => `${n} ms`, last: "최근 2분",
  errors: {
    unreachable: "서버에 닿지 않습니다. 서버가 켜져 있는지 확인하고 다시 시도하세요.", unauthenticated: "이 서버는 토큰이 필요합니다. 위의 ‘토큰’에 넣어 주세요.",
    permission_denied: "이 토큰으로는 할 수 없는 호출입니다.", resource_exhausted: "지금은 자리가 없거나 사용량 한도를 넘었습니다.",
    not_found: "그런 버전이 없습니다. 목록을 새로 고쳤으니 다시 골라 주세요.", failed_precondition: "이 버전으로는 할 수 없는 호출입니다.", invalid_argument: "입력을 고쳐야 합니다.",
    unavailable: "서버가 아직 준비되지 않았거나 종료하는 중입니다.", deadline_exceeded: "정해진 시간 안에 끝나지 않았습니다.", internal: "서버에서 오류가 났습니다.", unknown: "예상하지 못한 답이 왔습니다.",
  },
  retryIn: s => `${s}초 뒤에 다시 시도하세요.`, requestId: id => `요청 번호 ${id}`, again: "다시 시도",
};

const EN = {
  skip: "Skip to content", tabs: "Functions", token: "Token", language: "한국어",
  dark: "Dark", light: "Light",
  similarity: "Similarity", ranking: "Ranking", compare: "Two versions", tokens: "Tokens", live: "Server",
  similarityTitle: "How near sentences are to each other", similarityHint: "One sentence per line; every pair is scored by the model's own similarity function.",
  rankingTitle: "Nearest to a question", rankingHint: "The question is read in the role query, the list as document. Choose a cross-encoder version to rerank.",
  compareTitle: "Two versions, one input", compareHint: "The same question and list go to both versions; see how the order changes.",
  tokensTitle: "What the model reads", tokensHint: "How the tokenizer of stable splits sentences. What is past the limit is not read.",
  liveTitle: "This server, now", liveHint: "Reads /metrics every 2 seconds, only while this tab is visible.",
  sentences: "Sentences", documents: "Documents", question: "Question", onePerLine: "One sentence per line", questionHere: "What are you looking for?",
  version: "Version", versionA: "Version A", versionB: "Version B", role: "Role", roleNone: "None", roleQuery: "query", roleDocument: "document",
  compareThem: "Show similarity", rankThem: "Show ranking", compareVersions: "Compare", showTokens: "Show tokens", sample: "Use samples",
  working: "Computing…", done: n => `The result of ${n} sentences is here.`, lines: n => `${n} ${n === 1 ? "line" : "lines"}`,
  sameCall: "The same call", copy: "Copy", copied: "Copied", copyFailed: "Could not copy",
  callToken: "Tokens are not written here. Keep yours in the environment variable MUNJANG_TOKEN.",
  callPort: "The gRPC port is not known; 50051 is written.", callRerank: "OpenAI's client has no reranking; this calls /v1/rerank directly.",
  callCosine: "The OpenAI client gets vectors and multiplies them: they are normalised, so that is the cosine.", callStable: "Pieces are served by HTTP's /tokenize only. The other calls return token counts and what was cut.",
  tokenTitle: "Token for this server", tokenHint: "Kept in this tab's sessionStorage until the tab closes. It is sent to this server only.", tokenKeep: "Use", tokenForget: "Forget",
  tokenSet: "Token set",
  factVersion: "Version", factSpace: "Space", factTime: "Round trip", factTokens: "Tokens", factCut: "Cut", factFunction: "Function", factA: "A", factB: "B",
  none: "none", cutTexts: n => `${n}`, cut: "cut", readUpTo: n => `The model reads up to ${n} tokens.`,
  spaceTitle: "Only vectors of one space may be compared",
  emptySimilarity: "Enter two lines or more, and a heat map appears here.", emptyRanking: "Enter a question and documents, and the ranking appears here.",
  emptyCompare: "Enter a question and documents and choose two versions, and the comparison appears here.", emptyTokens: "Enter sentences, and their tokens appear here.",
  needTwo: "Comparing needs two lines or more.", needQuestion: "Write a question.", needDocuments: "Enter one document or more.", needText: "Enter one sentence or more.",
  tooMany: n => `The heat map draws up to ${n} sentences. Use the API for more.`,
  noVersion: "This server has no version to answer with yet. Publish a model and name it by an alias, and it appears here.",
  heatmap: "Heat map of similarity", heatHint: "Point at a cell, or move by the arrow keys, to see both sentences.", rangeFull: "All of 0–1", near: "near", far: "far",
  pair: (a, b, s) => `${a} and ${b}: ${s}`, same: "the same sentence",
  score: "Score", ranked: "Ranking",
  swapped: (n, all) => n ? `${n} of ${all} pairs changed their order.` : "The order is the same.",
  firstSame: "The first is the same.", firstOther: "The first is another.",
  spacesDiffer: "The versions are of different spaces, so their scores cannot be compared. Look at the order only.", spacesSame: "Both answers are of one space.",
  up: n => `up ${n}`, down: n => `down ${n}`, stays: "same", was: (a, b) => `A: ${a}, B: ${b}`, sameVersion: "Choose another version for B to see differences.",
  pieces: n => `${n} pieces`, special: "special token", notRead: "not read",
  ready: "Ready", notReady: "Not ready yet", away: "Server unreachable", locked: "Needs a token",
  tokensPerSecond: "Tokens/s", textsPerSecond: "Sentences/s", queue: "Tokens waiting", inFlight: "Calls in flight", measuredSpeed: n => `full batches: ${n} tokens/s`, queuedTexts: n => `${n} sentences`, lanes: (a, b) => `interactive ${a} · bulk ${b}`, answered: n => `${n} so far`,
  batches: "Batch sizes", batchesHint: (n, mean) => `${n} batches since the start, ${mean} sentences in each on average`, noBatches: "No batches yet. They appear once sentences are sent.",
  aliases: "Aliases", alias: "Alias", serves: "Answers with", previous: "Previous", noAliases: "No aliases.",
  versions: "Versions", state: "State", model: "Model", dimensions: "Dimensions", maxTokens: "Max tokens", space: "Space", noVersions: "No version was published.",
  kindDense: "embedding", kindCross: "cross-encoder", swapping: n => `${n} on its way`,
  states: { AVAILABLE: "available", PUBLISHED: "published", LOADING: "loading", WARMING: "warming", DRAINING: "draining", FAILED: "failed" },
  ms: n => `${n} ms`, last: "last 2 minutes",
  errors: {
    unreachable: "The server cannot be reached. See that it runs, and try again.", unauthenticated: "This server needs a token. Enter it under “Token” above.",
    permission_denied: "This token does not allow the call.", resource_exhausted: "There is no room now, or a limit of use was passed.",
    not_found: "There is no such version. The list was read again; choose another.", failed_precondition: "This version cannot do that.", invalid_argument: "The input has to be changed.",
    unavailable: "The server is not ready yet, or is shutting down.", deadline_exceeded: "It did not end in the time given.", internal: "The server failed.", unknown: "The answer was not as expected.",
  },
  retryIn: s => `Try again in ${s} s.`, requestId: id => `Request ${id}`, again: "Try again",
};

export const SAMPLES = {
  sentences: [
    "한 남자가 공원에서 기타를 치고 있다.",
    "어떤 사람이 야외에서 악기를 연주한다.",
    "아이들이 운동장에서 축구를 한다.",
    "오늘 서울에는 하루 종일 비가 내린다.",
    "장마가 시작되어 우산이 필요하다.",
    "기준금리가 석 달째 동결되었다.",
    "한국은행이 금리를 그대로 두기로 했다.",
  ],
  question: "여권을 잃어버렸을 때 어떻게 하나요?",
  documents: [
    "여권 분실 신고는 가까운 구청 민원실이나 정부24에서 할 수 있습니다.",
    "분실한 여권은 신고하는 즉시 효력을 잃으며, 다시 찾아도 쓸 수 없습니다.",
    "주민등록등본은 무인민원발급기에서 발급받을 수 있습니다.",
    "해외에서 여권을 도난당했다면 재외공관에서 긴급여권을 신청하세요.",
    "운전면허증 갱신 기간은 면허증 앞면에 적혀 있습니다.",
    "전입신고는 이사한 날부터 14일 안에 해야 합니다.",
    "여권 사진은 6개월 이내에 찍은 것이어야 합니다.",
    "도서관 회원증을 잃어버리면 재발급 수수료가 있습니다.",
  ],
  tokens: ["안녕하세요, 문장을 벡터로 바꿔 봅시다.", "뭐라카노 ㅋㅋ 😀", "대한민국 헌법 제1조 ① 대한민국은 민주공화국이다."],
};

const stored = localStorage.getItem("munjang-language");
export let language = stored ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");

/** A word or sentence by its key; those with numbers in them are functions. */
export function t(key, ...given) {
  const found = (language === "ko" ? KO : EN)[key];
  return typeof found === "function" ? found(...given) : found;
}

/** Switch between the languages, and remember it. */
export function switchLanguage() {
  language = language === "ko" ? "en" : "ko";
  localStorage.setItem("munjang-language", language);
  translate();
}

/** Write the words of the present language into everything that names a key. */
export function translate() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
}

/** A number as people of this language write it. */
export function number(value, digits = 0) {
  return value.toLocaleString(language, { maximumFractionDigits: digits });
}
