// The JDK's own HTTP client: java Embed.java BASE_URL TEXT... prints the version, its space and the vectors as JSON.
// The JDK reads no JSON: take Jackson or Gson, or the schema in /openapi.json, where this takes a pattern. From Kotlin the
// same classes are called in the same way.
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Arrays;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

public final class Embed {
  private static final Pattern EMBEDDING = Pattern.compile("\"embedding\":\\s*(\\[[^\\]]*\\])");

  static HttpResponse<String> embed(HttpClient client, String base, String... texts)
      throws IOException, InterruptedException {
    String input = Arrays.stream(texts).map(Embed::quoted).collect(Collectors.joining(", "));
    HttpRequest.Builder request =
        HttpRequest.newBuilder(URI.create(base + "/v1/embeddings"))
            .timeout(Duration.ofSeconds(30))
            .header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString("{\"model\": \"stable\", \"input\": [" + input + "]}"));
    String token = System.getenv("MUNJANG_TOKEN");
    if (token != null) {
      request.header("authorization", "Bearer " + token);
    }
    HttpResponse<String> reply = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    if (reply.statusCode() != 200) {
      throw new IOException(reply.statusCode() + ": " + reply.body());
    }
    return reply;
  }

  private static String quoted(String text) {
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"';
  }

  public static void main(String[] arguments) throws Exception {
    String[] texts = Arrays.copyOfRange(arguments, 1, arguments.length);
    HttpResponse<String> reply = embed(HttpClient.newHttpClient(), arguments[0], texts);
    System.out.println(reply.headers().firstValue("x-munjang-version").orElse(""));
    System.out.println(reply.headers().firstValue("x-munjang-space").orElse(""));
    System.out.println(
        EMBEDDING.matcher(reply.body()).results().map((MatchResult found) -> found.group(1)).collect(Collectors.toList()));
  }
}
