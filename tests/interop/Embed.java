// The JDK's own HTTP client: java Embed.java BASE_URL TEXT prints the answer's version, its space and its JSON.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

public final class Embed {
  public static void main(String[] arguments) throws Exception {
    String text = arguments[1].replace("\\", "\\\\").replace("\"", "\\\"");
    String body = "{\"model\": \"stable\", \"input\": [\"" + text + "\"]}";
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(arguments[0] + "/v1/embeddings"))
            .timeout(Duration.ofSeconds(30))
            .header("content-type", "application/json")
            .header("authorization", "Bearer mj_any")
            .POST(HttpRequest.BodyPublishers.ofString(body, StandardCharsets.UTF_8))
            .build();
    HttpResponse<String> reply = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    System.out.println(reply.statusCode());
    System.out.println(reply.headers().firstValue("x-munjang-version").orElse(""));
    System.out.write(reply.body().getBytes(StandardCharsets.UTF_8));
    System.out.println();
  }
}
