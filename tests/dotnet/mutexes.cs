// SPDX-License-Identifier: MIT
//
// Uses named mutexes as it is told, one step a line, and says what came of it:
//
//     in    THREAD <tab> STEP <tab> ARGUMENT ...
//     out   =VALUE                    it worked
//           !EXCEPTION <tab> MESSAGE  it raised; of an AbandonedMutexException the message is its MutexIndex
//
// The thread "main" is the program's own; any other is made when it is first named, and ends by the step "end".
// `mutexes.cs count ...` and `mutexes.cs guard ...` are programs of their own, see there.

using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Threading;

static class Mutexes
{
    static readonly ConcurrentDictionary<string, Mutex> mutexes = new ConcurrentDictionary<string, Mutex>();
    static readonly Dictionary<string, Worker> workers = new Dictionary<string, Worker>();

    static int Main(string[] arguments)
    {
        if (arguments.Length > 0 && arguments[0] == "count")
            return Count(arguments[1], arguments[2], int.Parse(arguments[3]), int.Parse(arguments[4]));
        if (arguments.Length > 0 && arguments[0] == "guard")
            return new Guard(arguments[1], arguments[2], long.Parse(arguments[3])).Run();
        for (string line; (line = Console.In.ReadLine()) != null;)
        {
            var parts = line.Split('\t');
            if (parts[1] == "return") // Main returns, whatever is held
                return int.Parse(parts[2]);
            Console.Out.Write((parts[0] == "main" ? Answer(parts) : On(parts[0], parts)) + "\n");
            Console.Out.Flush();
        }
        return 0;
    }

    static string On(string thread, string[] step)
    {
        Worker worker;
        if (!workers.TryGetValue(thread, out worker))
            workers[thread] = worker = new Worker();
        if (step[1] == "end")
        {
            workers.Remove(thread);
            worker.End();
            return "=";
        }
        return worker.Do(() => Answer(step));
    }

    static string Answer(string[] step)
    {
        try
        {
            return "=" + Step(step);
        }
        catch (AbandonedMutexException error)
        {
            return "!AbandonedMutexException\t" + error.MutexIndex;
        }
        catch (Exception error)
        {
            return "!" + error.GetType().Name + "\t" + error.Message.Replace('\t', ' ').Replace('\n', ' ');
        }
    }

    static string Step(string[] a)
    {
        bool created;
        Mutex mutex;
        switch (a[1])
        {
            case "create": // VARIABLE, NAME, whether owned: whether it was created
                mutexes[a[2]] = new Mutex(bool.Parse(a[4]), a[3], out created);
                return created.ToString();
            case "open": // VARIABLE, NAME
                mutexes[a[2]] = Mutex.OpenExisting(a[3]);
                return "";
            case "try_open":
                if (!Mutex.TryOpenExisting(a[3], out mutex))
                    return "False";
                mutexes[a[2]] = mutex;
                return "True";
            case "wait": // VARIABLE, milliseconds
                return mutexes[a[2]].WaitOne(int.Parse(a[3])).ToString();
            case "wait_any": // milliseconds, VARIABLE: alone in the array, as .NET allows it here
                return WaitHandle.WaitAny(new WaitHandle[] { mutexes[a[3]] }, int.Parse(a[2])).ToString();
            case "release":
                mutexes[a[2]].ReleaseMutex();
                return "";
            case "close":
                mutexes[a[2]].Dispose();
                return "";
            case "session":
                return getsid(0).ToString();
            case "exit":
                Environment.Exit(int.Parse(a[2]));
                return "";
        }
        throw new InvalidProgramException("no such step: " + a[1]);
    }

    [System.Runtime.InteropServices.DllImport("libc")]
    static extern int getsid(int pid);

    // count NAME FILE ROUNDS KEEP: adds one to the first eight bytes of FILE, ROUNDS times, each time under the mutex,
    // in two halves that everybody else would fall between; opens it anew after every KEEP rounds. Prints how often it
    // was told of an abandonment.
    static int Count(string name, string file, int rounds, int keep)
    {
        int abandoned = 0;
        using (var map = MemoryMappedFile.CreateFromFile(file, FileMode.Open))
        using (var view = map.CreateViewAccessor())
        {
            Mutex mutex = null;
            for (int i = 0; i < rounds; i++)
            {
                if (mutex == null)
                    mutex = new Mutex(false, name);
                try
                {
                    mutex.WaitOne();
                }
                catch (AbandonedMutexException)
                {
                    abandoned++;
                }
                long value = view.ReadInt64(0);
                Thread.SpinWait(value % 7 == 0 ? 200 : 1);
                view.Write(0, value + 1);
                mutex.ReleaseMutex();
                if ((i + 1) % keep == 0)
                {
                    mutex.Dispose();
                    mutex = null;
                }
            }
            if (mutex != null)
                mutex.Dispose();
        }
        Console.Write(abandoned);
        return 0;
    }
}

// A thread that does what others hand to it.
class Worker
{
    readonly BlockingCollection<Action> todo = new BlockingCollection<Action>();
    readonly Thread thread;

    public Worker()
    {
        thread = new Thread(() =>
        {
            foreach (var action in todo.GetConsumingEnumerable())
                action();
        });
        thread.IsBackground = true;
        thread.Start();
    }

    public string Do(Func<string> step)
    {
        string answer = null;
        using (var done = new ManualResetEventSlim())
        {
            todo.Add(() =>
            {
                answer = step();
                done.Set();
            });
            done.Wait();
        }
        return answer;
    }

    public void End()
    {
        todo.CompleteAdding();
        thread.Join();
    }
}

// guard NAME FILE ID: a member of the campaign of support/guarding.py, where the words of FILE are explained.
class Guard
{
    readonly string name;
    readonly long id;
    readonly MemoryMappedViewAccessor view;
    readonly Random random;

    public Guard(string name, string file, long id)
    {
        this.name = name;
        this.id = id;
        random = new Random((int)id);
        view = MemoryMappedFile.CreateFromFile(file, FileMode.Open).CreateViewAccessor();
    }

    long this[int word]
    {
        get { return view.ReadInt64(word * 8); }
        set { view.Write(word * 8, value); }
    }

    int Wrong(int what)
    {
        this[9] = what;
        return 1;
    }

    public int Run()
    {
        var mutex = new Mutex(false, name);
        while (this[0] == 0)
        {
            bool told = false;
            try
            {
                if (!(random.Next(2) == 0 ? mutex.WaitOne() : mutex.WaitOne(1000)))
                    continue;
            }
            catch (AbandonedMutexException)
            {
                told = true;
            }
            int wrong = Look(told);
            if (wrong != 0)
                return Wrong(wrong);
            this[3] = id;
            this[1]++;
            Thread.SpinWait(random.Next(random.Next(10) == 0 ? 10000 : 100));
            if (random.Next(2000) == 0) // leave it in the middle
            {
                this[10]++;
                mutex.Dispose();
                mutex = new Mutex(false, name);
                continue;
            }
            this[2]++;
            this[12]++;
            this[3] = 0;
            mutex.ReleaseMutex();
            if (random.Next(20) == 0)
            {
                mutex.Dispose();
                mutex = new Mutex(false, name);
            }
        }
        mutex.Dispose();
        return 0;
    }

    int Look(bool told)
    {
        long begun = this[4];
        if (told && begun == this[6] && this[10] == this[11])
            return 1;
        if (!told && this[3] != 0)
            return 2;
        if (!told && this[1] != this[2])
            return 3;
        if (told)
        {
            this[7]++;
            if (this[3] == 0)
                this[8]++;
            this[2] = this[1];
        }
        this[6] = this[5];
        this[11] = this[10];
        return 0;
    }
}
