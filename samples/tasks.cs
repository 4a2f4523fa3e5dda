// SPDX-License-Identifier: MIT
//
// Both task programs in C#, on either side of `mmf tasks` and `mmf tasks-worker`. They share nothing with those but the
// published schema (`mmf tasks schema xml`) and the layout of a segment file (docs/segment-files.md).
//
//   mmf tasks run --command "dotnet tasks.dll destination {path} {lock}"
//   dotnet tasks.dll source FOLDER mmf tasks-worker
//
// .NET on Linux has no named maps: the file is mapped by its path, and the mutex has a name of all users. On Windows the
// destination also takes the id of the exchange, which is the name of the map:
//
//   mmf tasks run --command "dotnet tasks.dll destination {id} {lock}"

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Linq;
using System.Text;
using System.Threading;
using System.Xml;

// Segments: a 32-bit length, then the bytes of the text in UTF-16; a length of 0 is the end.
sealed class SegmentFile : IDisposable
{
    private readonly MemoryMappedFile _map;
    private readonly MemoryMappedViewAccessor _view;
    private readonly Mutex _mutex;

    // With a capacity it is made: a file.
    public SegmentFile(string pathOrName, string mutexName, long capacity = 0)
    {
        if (IsPath(pathOrName))
        {
            var mode = capacity == 0 ? FileMode.Open : FileMode.CreateNew;
            // FileShare.ReadWrite: .NET would lock the file for itself otherwise.
            var file = new FileStream(pathOrName, mode, FileAccess.ReadWrite, FileShare.ReadWrite);
            _map = MemoryMappedFile.CreateFromFile(
                file, null, capacity, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, false);
        }
        else
        {
            _map = MemoryMappedFile.OpenExisting(pathOrName);
        }
        _view = _map.CreateViewAccessor();
        _mutex = new Mutex(false, mutexName);
    }

    public static bool IsPath(string pathOrName)
    {
        return !string.IsNullOrEmpty(Path.GetDirectoryName(pathOrName));
    }

    public string Read(int number)
    {
        return Locked(() =>
        {
            long at = Find(number, out int length);
            if (length == 0)
                return null;
            var bytes = new byte[length];
            _view.ReadArray(at + sizeof(int), bytes, 0, length);
            return Encoding.Unicode.GetString(bytes);
        });
    }

    public void Write(int number, string text)
    {
        var bytes = Encoding.Unicode.GetBytes(text);
        Locked(() =>
        {
            long at = Find(number, out int length);
            if (length != 0)
                throw new InvalidOperationException("segment " + number + " is there already");
            if (at + sizeof(int) + bytes.Length > _view.Capacity)
                throw new IOException("there is no room for " + bytes.Length + " bytes");
            // The data before the length: who reads without the mutex sees all of it or nothing.
            _view.WriteArray(at + sizeof(int), bytes, 0, bytes.Length);
            Thread.MemoryBarrier();
            _view.Write(at, bytes.Length);
            return 0;
        });
    }

    private long Find(int number, out int length)
    {
        long at = 0;
        for (int i = 0; ; i++)
        {
            length = at + sizeof(int) <= _view.Capacity ? _view.ReadInt32(at) : 0;
            if (length < 0 || at + sizeof(int) + length > _view.Capacity)
                throw new InvalidDataException("segment " + i + " has an impossible length");
            if (i == number)
                return at;
            if (length == 0)
                throw new InvalidOperationException("there is no segment " + i);
            at += sizeof(int) + length;
        }
    }

    private T Locked<T>(Func<T> action)
    {
        try
        {
            _mutex.WaitOne();
        }
        catch (AbandonedMutexException)
        {
            // Owned all the same. What the dead one has left behind the end must not become a segment.
            long at = 0;
            for (int length; at + sizeof(int) <= _view.Capacity && (length = _view.ReadInt32(at)) > 0;)
                at += sizeof(int) + length;
            for (; at < _view.Capacity; at++)
                _view.Write(at, (byte)0);
        }
        try
        {
            return action();
        }
        finally
        {
            _mutex.ReleaseMutex();
        }
    }

    public void Dispose()
    {
        _view.Dispose();
        _map.Dispose();
        _mutex.Dispose();
    }
}

sealed class Job
{
    public string Id, Title, State = "waiting";
    public double Duration;
    public readonly Dictionary<string, string> Parameters = new Dictionary<string, string>();
}

// The documents of the schema. What is read may be anybody's: no document type, nothing external.
static class Documents
{
    private const string Namespace = "urn:memorymapped:tasks";

    public static List<Job> ReadTasks(string text)
    {
        var jobs = new List<Job>();
        using (var reader = Reader(text))
        {
            Root(reader, "tasks");
            foreach (string _ in Children(reader, "task"))
                jobs.Add(ReadJob(reader));
        }
        return jobs;
    }

    private static Job ReadJob(XmlReader reader)
    {
        var job = new Job();
        foreach (string name in Children(reader, "id", "title", "duration", "description", "priority", "parameters", "state"))
        {
            if (name == "parameters")
            {
                foreach (string _ in Children(reader, "parameter"))
                {
                    string key = reader.GetAttribute("name");
                    job.Parameters[key] = Text(reader);
                }
                continue;
            }
            string text = Text(reader);
            if (name == "id") job.Id = text;
            else if (name == "title") job.Title = text;
            else if (name == "state") job.State = text.Trim();
            else if (name == "duration") job.Duration = XmlConvert.ToDouble(text);
        }
        if (job.Id == null || job.Title == null)
            throw new XmlException("a task without id or title");
        return job;
    }

    // Which task was run, and how it has ended.
    public static string WriteAnswer(Job job, string outcome, double seconds, string output)
    {
        return Document("answer", writer =>
        {
            writer.WriteStartElement("details", Namespace);
            WriteJob(writer, job);
            writer.WriteEndElement();
            writer.WriteStartElement("result", Namespace);
            Write(writer, "outcome", outcome);
            Write(writer, "seconds", XmlConvert.ToString(seconds));
            Write(writer, "output", output);
            writer.WriteEndElement();
        });
    }

    public static string WriteTasks(IEnumerable<Job> jobs)
    {
        return Document("tasks", writer =>
        {
            foreach (Job job in jobs)
            {
                writer.WriteStartElement("task", Namespace);
                WriteJob(writer, job);
                writer.WriteEndElement();
            }
        });
    }

    private static void WriteJob(XmlWriter writer, Job job)
    {
        Write(writer, "id", job.Id);
        Write(writer, "title", job.Title);
        Write(writer, "duration", XmlConvert.ToString(job.Duration));
        writer.WriteStartElement("parameters", Namespace);
        foreach (var pair in job.Parameters)
            Write(writer, "parameter", pair.Value, pair.Key);
        writer.WriteEndElement();
    }

    // What an answer says, a line for each value.
    public static IEnumerable<string> ReadAnswer(string text)
    {
        var lines = new List<string>();
        using (var reader = Reader(text))
        {
            Root(reader, "answer");
            foreach (string part in Children(reader, "details", "result"))
                foreach (string name in Children(reader, "id", "title", "duration", "parameters", "outcome", "seconds",
                                                 "output", "truncated", "message", "exitCode", "signal"))
                {
                    if (name != "parameters")
                        lines.Add(name + " " + Text(reader));
                    else
                        foreach (string _ in Children(reader, "parameter"))
                            lines.Add("parameter " + reader.GetAttribute("name") + " " + Text(reader));
                }
        }
        return lines;
    }

    private static XmlReader Reader(string text)
    {
        if (text.TrimStart('\uFEFF', ' ', '\t', '\r', '\n').StartsWith("{", StringComparison.Ordinal))
            throw new XmlException("the document is JSON: this program reads XML only");
        return XmlReader.Create(new StringReader(text), new XmlReaderSettings
        {
            DtdProcessing = DtdProcessing.Prohibit,
            XmlResolver = null,
            IgnoreComments = true,
            IgnoreWhitespace = false,
            MaxCharactersInDocument = 4000000,
            NameTable = new Names(),
        });
    }

    private static void Root(XmlReader reader, string name)
    {
        reader.MoveToContent();
        if (reader.LocalName != name || reader.NamespaceURI != Namespace || reader.GetAttribute("version") != "1")
            throw new XmlException("expected <" + name + " xmlns=\"" + Namespace + "\" version=\"1\">");
    }

    // Goes from child to child of the element that the reader is at, and on behind it: the names, of which only some are
    // expected.
    private static IEnumerable<string> Children(XmlReader reader, params string[] expected)
    {
        bool isEmpty = reader.IsEmptyElement;
        reader.Read();
        while (!isEmpty && reader.MoveToContent() != XmlNodeType.EndElement)
        {
            if (reader.NodeType != XmlNodeType.Element || reader.NamespaceURI != Namespace
                || !expected.Contains(reader.LocalName))
                throw new XmlException("expected " + string.Join(", ", expected) + ", not " + reader.NodeType + " " + reader.Name);
            yield return reader.LocalName;
        }
        if (!isEmpty)
            reader.Read();
    }

    private static string Text(XmlReader reader)
    {
        bool isEncoded = reader.GetAttribute("encoding") == "base64";
        string text = reader.ReadElementContentAsString();
        return isEncoded ? Encoding.UTF8.GetString(Convert.FromBase64String(text)) : text;
    }

    private static void Write(XmlWriter writer, string name, string text, string key = null)
    {
        writer.WriteStartElement(name, Namespace);
        if (key != null)
            writer.WriteAttributeString("name", key);
        bool fits = true;
        for (int i = 0; i < text.Length && fits; i++)
            fits = char.IsHighSurrogate(text[i]) && i + 1 < text.Length ? char.IsLowSurrogate(text[++i])
                                                                         : XmlConvert.IsXmlChar(text[i]);
        if (!fits)
            writer.WriteAttributeString("encoding", "base64");
        writer.WriteString(fits ? text : Convert.ToBase64String(Encoding.UTF8.GetBytes(text)));
        writer.WriteEndElement();
    }

    private static string Document(string name, Action<XmlWriter> inside)
    {
        var text = new StringWriter(CultureInfo.InvariantCulture);
        var settings = new XmlWriterSettings { NewLineHandling = NewLineHandling.Entitize };
        using (var writer = XmlWriter.Create(text, settings))
        {
            writer.WriteStartElement(name, Namespace);
            writer.WriteAttributeString("version", "1");
            inside(writer);
            writer.WriteEndElement();
        }
        return text.ToString();
    }

    // That of .NET Core 3.1 has its random numbers from OpenSSL 1, which is not everywhere. Later ones need no own.
    private sealed class Names : XmlNameTable
    {
        private readonly Dictionary<string, string> _names = new Dictionary<string, string>();

        public override string Add(string name)
        {
            if (!_names.TryGetValue(name, out string known))
                _names[name] = known = name;
            return known;
        }

        public override string Get(string name) { return _names.TryGetValue(name, out string known) ? known : null; }
        public override string Add(char[] array, int offset, int length) { return Add(new string(array, offset, length)); }
        public override string Get(char[] array, int offset, int length) { return Get(new string(array, offset, length)); }
    }
}

// The process that waits for the answer says who it is, as `mmf tasks` does.
static class Waiting
{
    public const string Variable = "MEMORYMAPPED_TASKS_SOURCE";

    private static readonly TimeSpan Look = TimeSpan.FromSeconds(0.1);

    // Sleeps for so many seconds. False, and at once, if the source ends meanwhile; one that is not known does not.
    public static bool For(double seconds)
    {
        bool isKnown = int.TryParse(Environment.GetEnvironmentVariable(Variable), out int source);
        var end = TimeSpan.FromSeconds(seconds);
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < end; )
        {
            if (isKnown && (OnWindows ? HasEnded(source) : HasEnded(source.ToString())))
                return false;
            TimeSpan left = end - watch.Elapsed;
            Thread.Sleep(left < TimeSpan.Zero ? TimeSpan.Zero : left < Look ? left : Look);
        }
        return true;
    }

    public static readonly bool OnWindows = Environment.OSVersion.Platform == PlatformID.Win32NT;

    // Who has the number, and began later than we did, has got it after the source.
    private static bool HasEnded(int process)
    {
        try
        {
            using (Process theirs = Process.GetProcessById(process), ours = Process.GetCurrentProcess())
                return theirs.HasExited || theirs.StartTime > ours.StartTime;
        }
        catch (Exception error) when (error is ArgumentException || error is InvalidOperationException)
        {
            return true;
        }
    }

    // On Linux .NET takes one that nobody has reaped for one that runs.
    private static bool HasEnded(string process)
    {
        string[] theirs = Status(process), ours = Status("self");
        return theirs == null || theirs[State] == "Z" || ulong.Parse(theirs[Start]) > ulong.Parse(ours[Start]);
    }

    private const int State = 0, Start = 19;

    // The fields behind the name, which may be anything; null if there is no such process.
    private static string[] Status(string process)
    {
        try
        {
            string line = File.ReadAllText("/proc/" + process + "/stat");
            return line.Substring(line.LastIndexOf(')') + 2).Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }
}

static class Program
{
    static int Main(string[] args)
    {
        try
        {
            if (args.Length >= 3 && args[0] == "destination")
                return Destination(args[1], args[2]);
            if (args.Length >= 3 && args[0] == "source")
                return Source(args[1], args.Skip(2).ToList());
        }
        catch (Exception error) when (error is IOException || error is XmlException || error is FormatException
                                      || error is InvalidOperationException)
        {
            Console.Error.WriteLine(error.Message);
            return 7;
        }
        Console.Error.WriteLine("tasks destination PATH-OR-ID LOCK, or tasks source FOLDER COMMAND...");
        return 2;
    }

    // Runs the first task that waits: it takes its duration, and its output is the parameter prints. The exit codes are
    // those of mmf tasks-worker.
    static int Destination(string pathOrName, string lockName)
    {
        using (var segments = new SegmentFile(pathOrName, lockName))
        {
            Job job = Documents.ReadTasks(segments.Read(0)).FirstOrDefault(each => each.State == "waiting");
            if (job == null)
                return 6;
            var watch = Stopwatch.StartNew();
            if (!Waiting.For(job.Duration))
            {
                Console.Error.WriteLine("the source has ended, and nobody waits for an answer");
                if (!Waiting.OnWindows)
                    File.Delete(pathOrName); // it was the source's to do
                return 8;
            }
            bool failed = job.Parameters.ContainsKey("fail");
            job.Parameters.TryGetValue("prints", out string output);
            segments.Write(1, Documents.WriteAnswer(
                job, failed ? "failed" : "succeeded", watch.Elapsed.TotalSeconds, output ?? ""));
            return failed ? 3 : 0;
        }
    }

    // Hands two tasks to a destination, which gets path and mutex as mmf tasks-worker takes them, and shows its answer.
    static int Source(string folder, List<string> command)
    {
        string id = NewId();
        string path = Path.Combine(folder, "MmFile-" + id), lockName = @"Global\MmFile-mutex-" + id;
        try
        {
            using (var segments = new SegmentFile(path, lockName, 1 << 20))
            {
                var first = new Job { Id = "1", Title = "Prüfen €", Duration = 0.01 };
                first.Parameters["prints"] = "]]> \u0001 \U0001F34F";
                segments.Write(0, Documents.WriteTasks(new[] { first, new Job { Id = "2", Title = "other" } }));
                var start = new ProcessStartInfo(command[0]) { UseShellExecute = false };
                foreach (string argument in command.Skip(1).Concat(new[] { path, "--lock", lockName }))
                    start.ArgumentList.Add(argument);
                start.Environment[Waiting.Variable] = Process.GetCurrentProcess().Id.ToString();
                using (Process process = Process.Start(start))
                {
                    process.WaitForExit();
                    string answer = segments.Read(1);
                    Console.WriteLine("exit code " + process.ExitCode);
                    if (answer == null)
                        return 8;
                    foreach (string line in Documents.ReadAnswer(answer))
                        Console.WriteLine(line);
                    return process.ExitCode;
                }
            }
        }
        finally
        {
            File.Delete(path);
        }
    }

    static string NewId()
    {
        if (Waiting.OnWindows)
            return Guid.NewGuid().ToString();
        // On Linux that needs OpenSSL as well.
        using (var random = new BinaryReader(File.OpenRead("/dev/urandom")))
            return new Guid(random.ReadBytes(16)).ToString();
    }
}
