import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Runs the Java program of docs/clients.md by the protocol of ../program.ts. */
public final class Driver {
  public static void main(String[] arguments) throws Exception {
    var client = new GrantdClient();
    var threads = Executors.newCachedThreadPool();
    var lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      String rejected = words[1].equals("-") ? null : words[1];
      var results = IntStream.range(0, Integer.parseInt(words[0]))
          .mapToObj(index -> CompletableFuture.supplyAsync(() -> result(client, rejected), threads))
          .toList();
      System.out.println(results.stream().map(CompletableFuture::join).collect(Collectors.joining("\t")));
    }
    threads.shutdown();
  }

  private static String result(GrantdClient client, String rejected) {
    try {
      return client.accessToken(rejected);
    } catch (Exception error) {
      return "error: " + error.getMessage().replaceAll("\\s+", " ");
    }
  }
}
